// What is done once in a turn of the event loop, for all connections together. While it lasts, their input is only
// taken in; at its end all commands are carried out, then all answers are sent. So the same code runs many times in a
// row, and a peer that sleeps is woken by the first answer and finds the next ones there, where it would have gone
// back to sleep after each (measured at 64 connections: a fifth more gets a second than with neither).

import type { LocalHooks } from '../../hooks/session-hooks.ts'
import type { Entries } from './entries.ts'
import { InputMemory } from './input-buffer.ts'
import { LoneGets } from './lone-gets.ts'
import { ReplyBuffer } from './reply-buffer.ts'

/** Answers are sent when there are as many, though others have commands yet. */
const SEND_BYTES = 65_536
/** For one who has its input itself, or one whose input is not a lone get. */
const NONE = -1

export interface TurnMember {
  /** Takes over `length` bytes of the turn's memory from `start` on, as they are no lone get. */
  takeOver(start: number, length: number): void
  /** Carries out the commands that came in. `nowMs`: of the monotonic clock, read once for all. */
  carryOut(nowMs: number): void
  /** Sends `length` bytes of the output from `start` on: what its commands, or its lone get, are answered with. */
  sendAnswers(start: number, length: number, nowMs: number): void
}

/** Of one turn; what has the same index is of the same member. */
interface Members {
  readonly all: TurnMember[]
  /** Where input that may be a lone get begins in the turn's memory, then the number of the get; or NONE. */
  readonly gets: number[]
  readonly lengths: number[]
}

export class Turn {
  readonly input = new InputMemory()
  readonly output = new ReplyBuffer()
  readonly #hooks: LocalHooks
  readonly #loneGets: LoneGets
  #members = createMembers()
  /** Of each member, where its answers end in the output. */
  readonly #ends: number[] = []

  constructor(hooks: LocalHooks, entries: Entries) {
    this.#hooks = hooks
    this.#loneGets = new LoneGets(entries, this.input, this.output)
  }

  /** To be called once a turn by each. */
  add(member: TurnMember): void {
    this.#add(member, NONE, 0)
  }

  /** As `add`, with the first `length` bytes, for which there must be room: all that it has to be done in this turn. */
  addInput(member: TurnMember, bytes: Buffer, length: number): void {
    this.#add(member, this.input.add(bytes, length), length)
  }

  /** At the end, or before, when there is no room for more. */
  end(): void {
    const members = this.#members
    const { all, gets } = members
    this.#members = createMembers()
    let sent = 0
    let nowMs = 0
    this.#hooks.together((startMs) => {
      nowMs = startMs
      this.#findGets(members)
      for (let at = 0; at < all.length; at += 1) {
        const get = gets[at] ?? NONE
        if (get === NONE) all[at]?.carryOut(nowMs)
        else this.#loneGets.carryOut(get)
        this.#ends[at] = this.output.length
        if (this.output.length < SEND_BYTES) continue
        this.#send(all, sent, at + 1, nowMs)
        sent = at + 1
      }
    })
    this.#send(all, sent, all.length, nowMs)
    this.#loneGets.clear()
    this.input.clear()
  }

  #add(member: TurnMember, start: number, length: number): void {
    const { all, gets, lengths } = this.#members
    all.push(member)
    gets.push(start)
    lengths.push(length)
    // Behind all input that is there already.
    if (all.length === 1) setImmediate(() => this.end())
  }

  #findGets({ all, gets, lengths }: Members): void {
    for (let at = 0; at < all.length; at += 1) {
      const start = gets[at] ?? NONE
      if (start === NONE) continue
      const length = lengths[at] ?? 0
      const get = this.#loneGets.take(start, length)
      if (get === undefined) all[at]?.takeOver(start, length)
      gets[at] = get ?? NONE
    }
    this.#loneGets.find()
  }

  #send(all: readonly TurnMember[], from: number, to: number, nowMs: number): void {
    let start = 0
    for (let at = from; at < to; at += 1) {
      const end = this.#ends[at] ?? start
      all[at]?.sendAnswers(start, end - start, nowMs)
      start = end
    }
    this.output.truncate(0)
  }
}

function createMembers(): Members {
  return { all: [], gets: [], lengths: [] }
}
