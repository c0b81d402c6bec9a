// The forms of settings that nodes and repeaters have: session ID contexts, sources of peers, keys, names.

import { z } from 'zod'
import { parseHex } from '../base/bytes.ts'
import { messageOf } from '../base/errors.ts'
import {
  MAX_SERVICE_NAME_BYTES,
  parsePeerSource,
  SERVICE_NAME_PATTERN,
  SERVICE_SCHEME,
} from '../replication/peers/discovery.ts'
import { MAX_CONTEXT_BYTES, toContext } from '../session/encoded-session.ts'
import {
  type JsonSchema,
  list,
  matching,
  notes,
  oneOf,
  PEER_ADDRESS,
  parsed,
  text,
  writtenForms,
} from '../settings/forms.ts'
import { MAX_NODE_NAME_BYTES } from '../wire/identity.ts'
import { KEYS_FILE_MODES, Keyring, parseKey } from '../wire/keyring.ts'

const HEX_PREFIX = 'hex:'

const SERVICE: JsonSchema = {
  ...matching(
    `${SERVICE_SCHEME.replace('+', '\\+')}${SERVICE_NAME_PATTERN}`,
    `must be host:port, [ipv6]:port or ${SERVICE_SCHEME}name`,
  ),
  maxLength: SERVICE_SCHEME.length + MAX_SERVICE_NAME_BYTES,
}
const KEY_ERROR = 'must be a key of 32 bytes in base64, as tlscached keygen prints it'
/** Schema of a key: 32 bytes in base64, whose last digit has four bits of the key and two zero bits. */
const KEY: JsonSchema = {
  type: 'string',
  ...matching('[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=', KEY_ERROR),
}

export function context() {
  const hex = `^${HEX_PREFIX}(?:[0-9A-Fa-f]{2}){0,${MAX_CONTEXT_BYTES}}$`
  const plain = { maxLength: MAX_CONTEXT_BYTES, not: { pattern: `^${HEX_PREFIX}` } }
  return parsed(
    { anyOf: [{ pattern: hex }, plain], examples: ['shop.example', `${HEX_PREFIX}00a1`] },
    (value) =>
      toContext(value.startsWith(HEX_PREFIX) ? parseHex(value.slice(HEX_PREFIX.length)) : value),
  )
}

/** Returns the form of the name of a node or of a repeater. */
export function nodeName() {
  return text()
    .refine((name) => Buffer.byteLength(name) <= MAX_NODE_NAME_BYTES, {
      error: `must have at most ${MAX_NODE_NAME_BYTES} bytes`,
    })
    .register(writtenForms, { maxLength: MAX_NODE_NAME_BYTES })
    .optional()
}

/** Returns the setting of who may read the file of keys. */
export function keysFileMode() {
  return oneOf(KEYS_FILE_MODES)
    .prefault('private')
    .register(notes, {
      description:
        'who may read the file of keys: `private` is root, this user and its groups, `any` everybody',
      form: KEYS_FILE_MODES.join(' or '),
    })
}

export function peerSource() {
  const examples = ['10.0.0.2:7171', `${SERVICE_SCHEME}_tlscached._udp.example.com`]
  return parsed({ anyOf: [PEER_ADDRESS, SERVICE], examples }, parsePeerSource)
}

/** Returns the form of a list of keys in base64; a problem never repeats what was written. */
export function keyring() {
  return list(z.string({ error: 'must be a key in base64' }), 1, 64)
    .transform((lines, context) => {
      const keys = lines.map(parseKey)
      for (const [index, key] of keys.entries()) {
        if (key !== undefined) continue
        context.addIssue({ code: 'custom', message: KEY_ERROR, path: [index] })
      }
      try {
        if (!keys.includes(undefined)) return new Keyring(keys.filter((key) => key !== undefined))
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) })
      }
      return z.NEVER
    })
    .register(writtenForms, { items: KEY, uniqueItems: true })
}
