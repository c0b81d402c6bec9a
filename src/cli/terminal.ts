// Shows work that goes on, and screens that change, on a terminal. In a pipe and in a file nothing of it appears.

import { InvalidArgumentError } from 'commander'
import { parseDurationMs } from '../base/bytes.ts'

const ESCAPE = '\u001b['
/** Clears a terminal and puts the cursor to its top. */
export const CLEAR_SCREEN = `${ESCAPE}H${ESCAPE}2J`
const CLEAR_LINE = `\r${ESCAPE}K`
/** Shortest time between two drawings of progress. */
const DRAW_PERIOD_MS = 100
/** Shortest interval of a command that looks again and again. */
const LEAST_INTERVAL_MS = 1000
export const DEFAULT_INTERVAL_MS = 2000

/** Parses an option such as `5s`. */
export function duration(text: string): number {
  const durationMs = parseDurationMs(text)
  if (durationMs !== undefined) return durationMs
  throw new InvalidArgumentError('must be a duration as in 5s')
}

/** Parses the interval of a command that looks again and again. */
export function interval(text: string): number {
  const durationMs = duration(text)
  if (durationMs >= LEAST_INTERVAL_MS) return durationMs
  throw new InvalidArgumentError(`must be at least ${LEAST_INTERVAL_MS / 1000}s`)
}

/** The part of a stream that is written to here. */
export interface Terminal {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Columns of the terminal on standard output; undefined in a pipe or a file, where lines are as long as they are. */
export function outputColumns(output: Terminal = process.stdout): number | undefined {
  // A terminal that does not know its size says 0.
  return output.isTTY === true ? output.columns || 80 : undefined
}

/** Breaks text at spaces into lines that fit, those after the first one with `indent` spaces in front. */
export function wrapped(text: string, columns: number | undefined, indent: number): string[] {
  if (columns === undefined || text.length <= columns) return [text]
  // A single long word, such as a path, stays whole.
  const end = text.lastIndexOf(' ', columns)
  if (end <= indent) return [text]
  const rest = `${' '.repeat(indent)}${text.slice(end + 1)}`
  return [text.slice(0, end), ...wrapped(rest, columns, indent)]
}

/** One line on standard error that says how far work is, and is gone when the work is done. */
export class Progress {
  readonly #terminal: Terminal
  readonly #now: () => number
  #nextMs = 0
  #isShown = false

  constructor(terminal: Terminal = process.stderr, now: () => number = () => performance.now()) {
    this.#terminal = terminal
    this.#now = now
  }

  /** Shows what is being done, and how many parts of how many are done, where that is known. */
  show(what: string, done?: number, of?: number): void {
    const nowMs = this.#now()
    // The last part is shown always, so that a short piece of work is seen as well.
    if (this.#terminal.isTTY !== true || (nowMs < this.#nextMs && done !== of)) return
    this.#nextMs = nowMs + DRAW_PERIOD_MS
    this.#isShown = true
    const count = done === undefined ? '' : of === undefined ? ` ${done}` : ` ${done} of ${of}`
    const columns = this.#terminal.columns || 80
    this.#terminal.write(`${CLEAR_LINE}${printable(what + count).slice(0, columns - 1)}`)
  }

  clear(): void {
    if (this.#isShown) this.#terminal.write(CLEAR_LINE)
    this.#isShown = false
    this.#nextMs = 0
  }
}

/** Text without control characters, which could move the cursor or change what a terminal does. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}

/** What a whole screen is drawn on. */
export interface ScreenTerminal extends Terminal {
  readonly rows?: number
}

/** A screen of its own, which the shell's text is behind. */
export class Screen {
  readonly #terminal: ScreenTerminal

  constructor(terminal: ScreenTerminal = process.stdout) {
    this.#terminal = terminal
  }

  open(): void {
    this.#terminal.write(`${ESCAPE}?1049h${ESCAPE}?25l`)
  }

  /** Rows of the terminal; a terminal that does not know its size says 0. */
  get rows(): number {
    return this.#terminal.rows || 24
  }

  get columns(): number {
    return this.#terminal.columns || 80
  }

  /** Draws the lines from the top, cut to the size of the terminal; what was there before is gone. */
  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, this.rows).map((line) => {
      return `${printable(line).slice(0, this.columns)}${ESCAPE}K`
    })
    this.#terminal.write(`${ESCAPE}H${shown.join('\r\n')}${ESCAPE}J`)
  }

  close(): void {
    this.#terminal.write(`${ESCAPE}?25h${ESCAPE}?1049l`)
  }
}
