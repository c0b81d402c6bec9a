// Answers at the end of a turn: of everybody who has some, in their order, and of nobody twice.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { AnswerTurn } from '../../src/frontends/memcached/answer-turn.ts'

test('all that was added goes out at the end of the turn, and once', async () => {
  const turn = new AnswerTurn()
  const sent: string[] = []
  const answerer = (name: string) => ({ sendAnswers: () => sent.push(name) })
  turn.add(answerer('first'))
  turn.add(answerer('second'))
  assert.deepEqual(sent, [])
  await nextTurn()
  assert.deepEqual(sent, ['first', 'second'])
  turn.add(answerer('third'))
  await nextTurn()
  assert.deepEqual(sent, ['first', 'second', 'third'])
})

test('who is added while answers go out has the next turn', async () => {
  const turn = new AnswerTurn()
  let sent = 0
  const again = {
    sendAnswers: () => {
      sent += 1
      if (sent === 1) turn.add(again)
    },
  }
  turn.add(again)
  await nextTurn()
  assert.equal(sent, 1)
  await nextTurn()
  assert.equal(sent, 2)
})
