// The forms that values of settings have: text, numbers with bounds, sizes, durations, addresses, keys.

import { z } from 'zod'
import { parseAddress, parseHostAddress } from '../base/address.ts'
import { parseHex } from '../base/bytes.ts'
import { formatDurationMs, parseDurationMs, parseSizeBytes } from '../base/duration.ts'
import { messageOf } from '../base/errors.ts'
import { parsePeerSource } from '../replication/peer-source.ts'
import { toContext } from '../session/context.ts'
import { Keyring, parseKey } from '../wire/keyring.ts'

/** Written in place of an address, where a frontend that is on by default shall be off. */
export const NONE = 'none'
const HEX_PREFIX = 'hex:'

export function text() {
  return z.string({ error: 'must be text (a number needs quotes)' }).min(1, 'must not be empty')
}

/** A name as a Host header has it: without a port. */
export function hostName() {
  return text().regex(
    /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/,
    'must be a host name, without a port',
  )
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

/** A number of bytes, or text such as `4KiB`. */
export function size(min: number, max: number) {
  const error = `must be a size, ${min}..${max} bytes (as in 4096 or 4KiB)`
  return z.union([z.number(), z.string()], { error }).transform((value, context) => {
    const bytes = typeof value === 'number' ? value : parseSizeBytes(value)
    if (bytes !== undefined && Number.isInteger(bytes) && bytes >= min && bytes <= max) return bytes
    context.addIssue({ code: 'custom', message: error })
    return z.NEVER
  })
}

export function duration(maxMs: number) {
  const error = `must be a duration, 1ms..${formatDurationMs(maxMs)} (as in 250ms, 300s, 5m, 12h)`
  return z.string({ error }).transform((value, context) => {
    const durationMs = parseDurationMs(value)
    if (durationMs !== undefined && durationMs >= 1 && durationMs <= maxMs) return durationMs
    context.addIssue({ code: 'custom', message: error })
    return z.NEVER
  })
}

/** A duration within these bounds, or 0 for off. */
export function durationOrOff(minMs: number, maxMs: number) {
  const bounds = `${formatDurationMs(minMs)}..${formatDurationMs(maxMs)}`
  const error = `must be 0 (off) or a duration, ${bounds} (as in 2s)`
  return z.union([z.number(), z.string()], { error }).transform((value, context) => {
    const durationMs = value === 0 || value === '0' ? 0 : parseDurationMs(String(value))
    const isWithin = durationMs !== undefined && durationMs >= minMs && durationMs <= maxMs
    if (isWithin || durationMs === 0) return durationMs
    context.addIssue({ code: 'custom', message: error })
    return z.NEVER
  })
}

/** Text that `parse` accepts; the message of what it throws is the problem that is reported. */
export function parsed<Value>(parse: (value: string) => Value) {
  return text().transform((value, context): Value => {
    try {
      return parse(value)
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) })
      return z.NEVER
    }
  })
}

export function context() {
  return parsed((value) =>
    toContext(value.startsWith(HEX_PREFIX) ? parseHex(value.slice(HEX_PREFIX.length)) : value),
  )
}

export function hostAddress() {
  return parsed(parseHostAddress)
}

/** One address with a port; other programs cannot be looked up by the name of a service. */
export function peerAddress() {
  return parsed((value) => {
    const address = parseHostAddress(value)
    if (address.port === 0) throw new Error(`"${value}" is a peer without a port`)
    return address
  })
}

export function peerSource() {
  return parsed(parsePeerSource)
}

export function frontendAddress() {
  return parsed((value) => (value === NONE ? NONE : parseAddress(value)))
}

/** A list of keys in base64; a problem never repeats what was written. */
export function keyring() {
  return list(z.string({ error: 'must be a key in base64' }), 1, 64).transform((lines, context) => {
    const keys = lines.map(parseKey)
    for (const [index, key] of keys.entries()) {
      if (key !== undefined) continue
      const message = 'must be a key of 32 bytes in base64, as tlscached keygen prints it'
      context.addIssue({ code: 'custom', message, path: [index] })
    }
    try {
      if (!keys.includes(undefined)) return new Keyring(keys.filter((key) => key !== undefined))
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) })
    }
    return z.NEVER
  })
}
