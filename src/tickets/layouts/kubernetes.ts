// Bodies of Kubernetes Secrets with ticket keys, for a server-side apply. JSON is built in a Buffer that the caller
// erases. Whoever uses them says `allow_disk`, since etcd keeps Secrets on disks.

import { openedKeys, type RingView } from '../rule.ts'
import { keyBytes } from './binary.ts'
import { jsonKeys } from './key-files.ts'
import { secretText, type TextPart } from './secret-text.ts'

/** Most keys that Cilium reads from one Secret. */
const CILIUM_KEYS = 10

/** Where a Secret is. */
export interface SecretPlace {
  readonly namespace: string
  readonly name: string
}

/**
 * The Secret that Cilium reads: `tls.sessionticket.key` has the key that is minted, `.key.1` to `.key.9` those that are
 * only opened, 80 bytes each.
 */
export function ciliumSecret(place: SecretPlace, view: RingView): Buffer {
  const copies = openedKeys(view)
    .slice(0, CILIUM_KEYS)
    .map(({ key }) => keyBytes(key, 'hmac_aes', 80))
  const fields = copies.map((base64, index) => ({
    name: index === 0 ? 'tls.sessionticket.key' : `tls.sessionticket.key.${index}`,
    base64,
  }))
  const body = secretBody(place, fields)
  for (const copy of copies) copy.fill(0)
  return body
}

/** A Secret with one field `ticket-keys.json`, for controllers of one's own. */
export function genericSecret(place: SecretPlace, group: string, view: RingView): Buffer {
  const base64 = jsonKeys(group, view)
  const body = secretBody(place, [{ name: 'ticket-keys.json', base64 }])
  base64.fill(0)
  return body
}

function secretBody(
  { namespace, name }: SecretPlace,
  fields: readonly { readonly name: string; readonly base64: Buffer }[],
): Buffer {
  const metadata = JSON.stringify({ name, namespace })
  const data = fields.flatMap(({ name: field, base64 }, index): TextPart[] => [
    `${index === 0 ? '' : ','}${JSON.stringify(field)}:"`,
    { base64 },
    '"',
  ])
  return secretText([
    `{"apiVersion":"v1","kind":"Secret","metadata":${metadata},"type":"Opaque","data":{`,
    ...data,
    '}}\n',
  ])
}
