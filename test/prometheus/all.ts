// All tests of this folder.

import { testFolderOf } from '../support/one-process.ts'

testFolderOf(import.meta.url)
