// What a connection asks of the protocol that its peer speaks, and what it gives it to work with.

import type { Entries } from './entries.ts'
import type { ReplyBuffer } from './reply-buffer.ts'
import type { ServerStatus } from './server-status.ts'
import type { MemcachedStats } from './stats.ts'

/**
 * `answered`: a command was carried out, there may be more. `starved`: more bytes must come first.
 * `waiting`: the command goes on by itself, and calls `resume` with what writes its answer when it is done.
 * `close`: no more after this.
 */
export type Step = 'answered' | 'starved' | 'waiting' | 'close'

export type Resume = (answer: () => void) => void

export interface Protocol {
  /** Whether a command has begun that more bytes must complete. */
  readonly isMidway: boolean
  /** Whether a get of the text protocol that comes next, alone, may be answered past it. */
  readonly mayTakeLoneGets: boolean
  /** Carries out at most one command. */
  step(resume: Resume): Step
}

/** The same for all connections. */
export interface ProtocolParts {
  readonly output: ReplyBuffer
  readonly entries: Entries
  readonly status: ServerStatus
  readonly stats: MemcachedStats
  /** Larger values are thrown away as they come in. */
  readonly maxValueBytes: number
  /** Empties the cache; true when that is done, otherwise `onDone` is called when it is. */
  readonly flush: (delaySec: number, onDone: () => void) => boolean
}
