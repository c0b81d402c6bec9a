// The thread that writes lines: it runs while there are lines to write, and nothing of it is left when it was stopped.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OutputThread, STANDARD_ERROR } from '../../src/base/output-thread.ts'
import { createNode } from '../../src/node/node.ts'

/** Written by the thread like any other line, and leaves no trace on standard error. */
const EMPTY_LINE = ''

test('an output that wrote nothing has no thread and leaves nothing behind', async () => {
  const before = process.listenerCount('exit')
  const output = new OutputThread()
  assert.equal(process.listenerCount('exit'), before)
  await output.stop()
})

test('a stopped output has ended its thread, and a later line starts another one', async () => {
  const before = process.listenerCount('exit')
  const output = new OutputThread()
  for (let round = 0; round < 3; round += 1) {
    output.write(STANDARD_ERROR, EMPTY_LINE)
    assert.equal(process.listenerCount('exit'), before + 1)
    await output.stop()
    assert.equal(process.listenerCount('exit'), before)
  }
  assert.equal(output.droppedLines, 0)
})

test('a line that is written while the thread ends is written by the next thread', async () => {
  const before = process.listenerCount('exit')
  const output = new OutputThread()
  output.write(STANDARD_ERROR, EMPTY_LINE)
  const stopped = output.stop()
  output.write(STANDARD_ERROR, EMPTY_LINE)
  await stopped
  assert.ok(output.flush(10_000))
  await output.stop()
  assert.equal(output.droppedLines, 0)
  assert.equal(process.listenerCount('exit'), before)
})

test('a program may make any number of nodes with a log, one after the other', async () => {
  const before = process.listenerCount('exit')
  for (let count = 0; count < 3; count += 1) {
    const node = createNode({ log: { level: 'error' } })
    await node.start()
    await node.stop()
  }
  assert.equal(process.listenerCount('exit'), before)
})
