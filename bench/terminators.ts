// Handshakes of terminators: of the reference terminator beside others, and of Apache with one store or another.

import { benchApache } from './apache.ts'
import { benchReferenceTerminator } from './reference-terminator.ts'
import type { Row } from './table.ts'

export async function benchTerminators(isQuick: boolean): Promise<Row[]> {
  return [...(await benchReferenceTerminator(isQuick)), ...(await benchApache(isQuick))]
}
