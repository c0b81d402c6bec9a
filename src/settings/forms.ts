// The forms that values of settings have: text, numbers with bounds, sizes, durations, addresses.

import { z } from 'zod'
import { MAX_UNIX_PATH_BYTES, parseAddress, parseHostAddress } from '../base/address.ts'
import {
  DURATION_UNIT,
  formatDurationMs,
  parseDurationMs,
  parseSizeBytes,
  SIZE_UNIT,
} from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import { LOG_FORMATS } from '../base/logger.ts'
import { DEFAULT_WATCHDOG_MS, MAX_WATCHDOG_MS, MIN_WATCHDOG_MS } from '../base/watchdog.ts'
import { LOG_LEVELS } from '../base/world.ts'

/** Value in place of an address that turns a frontend off. */
export const NONE = 'none'
export type JsonSchema = z.core.JSONSchema.BaseSchema

/** What the reference and the command line need to know about a setting besides its schema. */
export interface SettingNote {
  readonly description: string
  /** What a value looks like, in a few words. */
  readonly form: string
  /** Text in place of the default, when the schema has none. */
  readonly fallback?: string
  /** Whether the setting must not be a flag, because every user of the machine can read the command line. */
  readonly isSecret?: boolean
  /**
   * How a flag gives a list of text: once for each element, or once with commas between them. A variable has commas.
   * Every other list is YAML in both.
   */
  readonly listFlag?: 'repeated' | 'commas'
}

export const notes = z.registry<SettingNote>()

/**
 * JSON Schemas of the forms that a function reads here. A schema accepts everything that its function accepts, and
 * also what it cannot check, such as whether 8d is within the bounds of a duration.
 */
export const writtenForms = z.registry<JsonSchema>()

/**
 * Returns a schema of text that matches a pattern. Editors show `patternErrorMessage`, a keyword of their own, instead
 * of the pattern.
 */
export function matching(pattern: string, patternErrorMessage: string): JsonSchema {
  return { pattern: `^${pattern}$`, patternErrorMessage }
}

const ABOVE_0 = '0{0,11}[1-9][0-9]{0,11}'
const PORT_NOT_0 =
  '(?:0{0,4}[1-9]|0{0,3}[1-9][0-9]|0{0,2}[1-9][0-9]{2}|0?[1-9][0-9]{3}|[1-5][0-9]{4}|' +
  '6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])'
const PORT = `(?:0{1,5}|${PORT_NOT_0})`
const HOST = '(?:\\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z.:-]+)?\\]|[^:[\\]]+)'
const HOST_ADDRESS = matching(`${HOST}:${PORT}`, 'must be host:port or [ipv6]:port')
export const PEER_ADDRESS = matching(`${HOST}:${PORT_NOT_0}`, 'must be host:port or [ipv6]:port')
const UNIX_PREFIX = 'unix:'
const ADDRESSES: readonly JsonSchema[] = [
  { ...HOST_ADDRESS, not: { pattern: `^${UNIX_PREFIX}` } },
  {
    pattern: `^${UNIX_PREFIX}/`,
    patternErrorMessage: 'must be host:port, [ipv6]:port or unix:/path',
    maxLength: UNIX_PREFIX.length + MAX_UNIX_PATH_BYTES,
  },
]
export function text() {
  return z.string({ error: 'must be text (a number needs quotes)' }).min(1, 'must not be empty')
}

/** Returns the form of a host name without a port. */
export function hostName() {
  return text().regex(
    /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/,
    'must be a host name, without a port',
  )
}

/** Returns the form of a name that is also a label of metrics. */
export function label(pattern: RegExp) {
  return text().regex(pattern, {
    error: 'must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or digit',
  })
}

export function flag() {
  return z.boolean({ error: 'must be true or false' })
}

export function oneOf<const Values extends readonly string[]>(values: Values) {
  return z.enum(values, { error: `must be ${values.join(' or ')}` })
}

export function list<Element extends z.ZodType>(element: Element, min: number, max: number) {
  return z
    .array(element, { error: 'must be a list, as in [a, b]' })
    .min(min, `must have at least ${min}`)
    .max(max, `must have at most ${max}`)
}

export function integer(min: number, max: number) {
  const error = `must be a whole number, ${min}..${max}`
  return z.int({ error }).min(min, error).max(max, error)
}

/** Returns the form of a size in bytes: a number, or text such as `4KiB`. */
export function size(min: number, max: number) {
  const error = `must be a size, ${min}..${max} bytes (as in 4096 or 4KiB)`
  const read = (value: number | string) => {
    const bytes = typeof value === 'number' ? value : parseSizeBytes(value)
    const isWithin = bytes !== undefined && bytes >= min && bytes <= max
    return isWithin && Number.isInteger(bytes) ? bytes : undefined
  }
  return z
    .union([z.number(), z.string()], { error })
    .transform(orIssue(read, error))
    .register(writtenForms, {
      anyOf: [
        { type: 'integer', minimum: min, maximum: max },
        { type: 'string', ...matching(`${ABOVE_0}${SIZE_UNIT}`, error) },
      ],
      examples: [64, 4096, '4KiB', '64MiB'].filter((value) => read(value) !== undefined),
    })
}

/** Returns a transformation by `read`, which returns undefined for a value that `error` is reported of. */
function orIssue<Written, Value>(read: (value: Written) => Value | undefined, error: string) {
  return (value: Written, context: z.RefinementCtx): Value => {
    const found = read(value)
    if (found !== undefined) return found
    context.addIssue({ code: 'custom', message: error })
    return z.NEVER
  }
}

function durationWithin(text: string, minMs: number, maxMs: number): number | undefined {
  const durationMs = parseDurationMs(text)
  const isWithin = durationMs !== undefined && durationMs >= minMs && durationMs <= maxMs
  return isWithin ? durationMs : undefined
}

export function duration(maxMs: number, minMs = 1) {
  const bounds = `${formatDurationMs(minMs)}..${formatDurationMs(maxMs)}`
  const error = `must be a duration, ${bounds} (as in 250ms, 300s, 5m, 12h)`
  return z
    .string({ error })
    .transform(orIssue((value) => durationWithin(value, minMs, maxMs), error))
    .register(writtenForms, {
      ...matching(`${ABOVE_0}${DURATION_UNIT}`, error),
      examples: [minMs > 250 ? formatDurationMs(minMs) : '250ms', '30s', formatDurationMs(maxMs)],
    })
}

/** Returns the form of a duration within these bounds, or 0 for off. */
export function durationOrOff(minMs: number, maxMs: number) {
  const bounds = `${formatDurationMs(minMs)}..${formatDurationMs(maxMs)}`
  const error = `must be 0 (off) or a duration, ${bounds} (as in 2s)`
  const read = (value: number | string) => {
    const written = String(value)
    const isOff = written === '0' || parseDurationMs(written) === 0
    return isOff ? 0 : durationWithin(written, minMs, maxMs)
  }
  return z
    .union([z.number(), z.string()], { error })
    .transform(orIssue(read, error))
    .register(writtenForms, {
      anyOf: [
        { const: 0 },
        { type: 'string', ...matching(`(?:0|[0-9]{1,12}${DURATION_UNIT})`, error) },
      ],
      examples: [0, formatDurationMs(minMs), formatDurationMs(maxMs)],
    })
}

/**
 * Returns the form of text that `parse` accepts; the message of an error that it throws is reported as the problem.
 */
export function parsed<Value>(form: JsonSchema, parse: (value: string) => Value) {
  return text()
    .transform((value, context): Value => {
      try {
        return parse(value)
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) })
        return z.NEVER
      }
    })
    .register(writtenForms, form)
}

export function hostAddress() {
  return parsed({ ...HOST_ADDRESS, examples: ['127.0.0.1:7171', '[::1]:7171'] }, parseHostAddress)
}

export function address() {
  return parsed(
    { anyOf: [...ADDRESSES], examples: ['127.0.0.1:5001', 'unix:/run/tlscached/stats.sock'] },
    parseAddress,
  )
}

/** Returns the form of one address with a port. Nodes of other programs are not looked up by the name of a service. */
export function peerAddress() {
  return parsed({ ...PEER_ADDRESS, examples: ['127.0.0.1:7272'] }, (value) => {
    const peer = parseHostAddress(value)
    if (peer.port === 0) throw new Error(`"${value}" is a peer without a port`)
    return peer
  })
}

export function frontendAddress() {
  return parsed(
    {
      anyOf: [...ADDRESSES, { const: NONE }],
      examples: ['127.0.0.1:5080', 'unix:/run/tlscached/frontend.sock', NONE],
    },
    (value) => (value === NONE ? NONE : parseAddress(value)),
  )
}

// Settings of every command that runs until it is stopped.

/** Returns the setting of the watchdog of a command. */
export function watchdog(command: string) {
  const bounds = `${formatDurationMs(MIN_WATCHDOG_MS)}..${formatDurationMs(MAX_WATCHDOG_MS)}`
  return durationOrOff(MIN_WATCHDOG_MS, MAX_WATCHDOG_MS)
    .prefault(formatDurationMs(DEFAULT_WATCHDOG_MS))
    .register(notes, {
      description: `\`${command}\` is killed when its event loop hangs for so long; \`0\` is off`,
      form: `duration, ${bounds}, or 0`,
    })
}

/** Returns the section of the log, which is the same for every command that runs until it is stopped. */
export function logSection() {
  return z
    .strictObject({
      level: oneOf(LOG_LEVELS)
        .prefault('info')
        .register(notes, {
          description: 'least important lines that are logged',
          form: LOG_LEVELS.join(', '),
        }),
      format: oneOf(LOG_FORMATS)
        .prefault('json')
        .register(notes, {
          description: 'one JSON object or one readable line per event',
          form: LOG_FORMATS.join(', '),
        }),
    })
    .prefault({})
}
