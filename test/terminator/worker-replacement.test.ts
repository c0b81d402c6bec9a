// Asked to replace the workers while they are being replaced.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkerReplacement } from '../../src/terminator/worker-replacement.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const DONE = 'all processes were replaced'
const FAILED = 'reload failed, the processes stay as they were'

/** What is done, in its order; each replacement ends when the test says so. */
function setUp() {
  const logger = new RecordingLogger()
  const steps: string[] = []
  const ends: { resolve: () => void; reject: (error: Error) => void }[] = []
  const replacement = new WorkerReplacement({
    check: () => steps.push('check'),
    replace: () => {
      steps.push('replace')
      return new Promise((resolve, reject) => ends.push({ resolve, reject }))
    },
    logger,
  })
  const messages = () => logger.lines.map(({ message }) => message)
  return { replacement, steps, ends, messages }
}

test('asked meanwhile, it begins once more after it, with files read anew, and is done only then', async () => {
  const { replacement, steps, ends, messages } = setUp()
  const done = replacement.ask()
  await replacement.ask()
  await replacement.ask()
  assert.deepEqual(steps, ['check', 'replace'])
  ends[0]?.resolve()
  await new Promise(setImmediate)
  assert.deepEqual(steps, ['check', 'replace', 'check', 'replace'])
  assert.deepEqual(messages(), [])
  ends[1]?.resolve()
  await done
  assert.deepEqual(messages(), [DONE])
  void replacement.ask()
  assert.equal(ends.length, 3)
})

test('one that fails is told, and the next one is made all the same', async () => {
  const { replacement, ends, messages } = setUp()
  const done = replacement.ask()
  await replacement.ask()
  ends[0]?.reject(new Error('no'))
  await new Promise(setImmediate)
  assert.deepEqual(messages(), [FAILED])
  ends[1]?.resolve()
  await done
  assert.deepEqual(messages(), [FAILED, DONE])
})
