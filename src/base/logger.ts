// The logger of a process: pino, which writes JSON or plain text through the thread that writes.

import { createRequire } from 'node:module'
import { type DestinationStream, pino } from 'pino'
import { type OutputThread, STANDARD_ERROR } from './output-thread.ts'
import type { LevelledLogger, LogLevel } from './world.ts'

export const LOG_FORMATS = ['json', 'text'] as const

export interface LoggerOptions {
  readonly level: LogLevel
  readonly format: (typeof LOG_FORMATS)[number]
  /** Name of the node. It is a field of every line in the format `json`; the format `text` leaves it out. */
  readonly node: string
}

/** Creates a logger that writes to standard error through `output`, one line per event: a JSON object or plain text. */
export function createLogger(
  options: LoggerOptions,
  output: Pick<OutputThread, 'write'>,
): LevelledLogger {
  const format = options.format === 'text' ? createTextFormat() : (line: string) => line
  const destination: DestinationStream = {
    write: (line) => output.write(STANDARD_ERROR, format(line)),
  }
  const logger = pino(
    {
      level: options.level,
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  )
  return logger as LevelledLogger
}

/** Returns what makes a readable line of a JSON object. pino-pretty is loaded here: most processes never need it. */
function createTextFormat(): (line: string) => string {
  const { prettyFactory }: typeof import('pino-pretty') = createRequire(import.meta.url)(
    'pino-pretty',
  )
  const toText = prettyFactory({
    ignore: 'pid,node',
    translateTime: 'SYS:isoDateTime',
    singleLine: true,
    colorize: false,
  })
  // An error message from a library may have several lines.
  return (line) => `${toText(line).trimEnd().replaceAll('\n', '\\n')}\n`
}
