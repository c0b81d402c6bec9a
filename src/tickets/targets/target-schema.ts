// The targets of ticket keys as people write them in the configuration: one form for each kind of terminator.

import { z } from 'zod'
import { formatDurationMs } from '../../base/bytes.ts'
import {
  duration,
  flag,
  hostAddress,
  hostName,
  list,
  notes,
  oneOf,
  text,
} from '../../settings/forms.ts'

/** Longest time between two writes of Caddy's file. */
const MAX_CADDY_POLL_MS = 3_600_000
const DEFAULT_CADDY_POLL_MS = 20_000
const MAX_ARGUMENTS = 32
/** Permission bits of a key file. Nobody but its owner and group reads it. */
export const FILE_MODES = ['0400', '0440', '0600', '0640'] as const
const FILE_FORMATS = ['raw', 'base64', 'json'] as const
const KEY_ORDERS = ['hmac_aes', 'aes_hmac'] as const
const SECRET_FORMATS = ['cilium', 'generic'] as const

/** The kinds of terminators that can be given keys. */
export const TARGET_KINDS = [
  'nginx',
  'haproxy',
  'lighttpd',
  'caddy',
  'h2o',
  'nghttpx',
  'stunnel',
  'apache',
  'envoy',
  'file',
  'kubernetes-secret',
] as const
export type TargetKind = (typeof TARGET_KINDS)[number]

const probe = z.strictObject({
  address: hostAddress().register(notes, {
    description: 'where the terminator takes TLS connections',
    form: 'host:port',
    fallback: 'required',
  }),
  server_name: hostName().optional().register(notes, {
    description: 'server name (SNI) to ask for',
    form: 'host name',
    fallback: 'none',
  }),
})

const everyKind = {
  group: text().register(notes, {
    description: 'the group whose keys the terminator gets',
    form: 'name of a group',
    fallback: 'required',
  }),
  name: text()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, {
      error: 'must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or digit',
    })
    .optional()
    .register(notes, {
      description: 'name in metrics and messages, different for every target',
      form: 'text',
      fallback: 'group and kind, as in www-nginx',
    }),
  allow_disk: flag().prefault(false).register(notes, {
    description: 'keep keys where they may reach a disk; otherwise only tmpfs and ramfs are taken',
    form: 'true or false',
  }),
  probe: probe.optional(),
}

const everyFile = {
  ...everyKind,
  owner: text().optional().register(notes, {
    description: 'user, or user:group, by name or number, that the terminator reads the file as',
    form: 'text',
    fallback: 'the user of the node',
  }),
  mode: oneOf(FILE_MODES)
    .prefault('0400')
    .register(notes, {
      description: 'permissions of the file, in quotes',
      form: FILE_MODES.join(', '),
    }),
}

const everyReloaded = {
  ...everyFile,
  check: command(
    'command that fails when the terminator would not take the file, as in [nginx, -t]',
  ),
  reload: command('command that makes the terminator read the file; run without a shell'),
}

const file = (description: string) =>
  absolutePath().register(notes, { description, form: 'path', fallback: 'required' })
const folder = (description: string) =>
  absolutePath().register(notes, { description, form: 'path of a folder', fallback: 'required' })

/** A target of ticket keys. */
export const targetSchema = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({
      kind: kindOf('nginx'),
      dir: folder('folder for the keys and `tickets.conf`, which nginx includes as `DIR/*.conf`'),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('haproxy'),
      file: file('file of `tls-ticket-keys`, spelled as in the configuration of HAProxy'),
      socket: absolutePath().optional().register(notes, {
        description: 'stats socket of HAProxy, over which it gets keys without a reload',
        form: 'path',
        fallback: 'none: `reload` is needed',
      }),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('lighttpd'),
      file: file('file of `ssl.stek-file`; `owner` is the user of the workers'),
      ...everyFile,
    }),
    z.strictObject({
      kind: kindOf('caddy'),
      file: file("`stek/stek.bin` in Caddy's storage; `owner` is the user of Caddy"),
      poll: duration(MAX_CADDY_POLL_MS)
        .prefault(formatDurationMs(DEFAULT_CADDY_POLL_MS))
        .register(notes, {
          description:
            "the file is written so often; Caddy's `rotation_interval` must be three times as long",
          form: `duration, at most ${formatDurationMs(MAX_CADDY_POLL_MS)}`,
        }),
      ...everyFile,
    }),
    z.strictObject({
      kind: kindOf('h2o'),
      file: file('file of `ticket-file`; `owner` is the user that h2o runs as'),
      ...everyFile,
    }),
    z.strictObject({
      kind: kindOf('nghttpx'),
      dir: folder(
        'folder for `current.key`, `next.key`, `previous.key`, `older.key`: `--tls-ticket-key-file`',
      ),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('stunnel'),
      dir: folder('folder of its own for `ticket.conf`, which stunnel reads by `include = DIR`'),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('apache'),
      file: file('file of `SSLSessionTicketKeyFile`'),
      insecure: flag().prefault(false).register(notes, {
        description: 'required as true: Apache signs its tickets with a key of zeros',
        form: 'true or false',
      }),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('envoy'),
      file: file('file of `path_config_source`, in a folder that Envoy watches'),
      secret: text().optional().register(notes, {
        description: 'name of the secret in the configuration of Envoy',
        form: 'text',
        fallback: 'the name of the group',
      }),
      ...everyFile,
    }),
    z.strictObject({
      kind: kindOf('file'),
      file: file('file for a program that this list does not have'),
      format: oneOf(FILE_FORMATS)
        .prefault('raw')
        .register(notes, {
          description: 'keys one after another, one a line in base64, or JSON',
          form: FILE_FORMATS.join(', '),
        }),
      bits: oneOf(['128', '256']).prefault('256').register(notes, {
        description: 'size of the AES keys: 48 or 80 bytes a key; JSON always has 256',
        form: '"128" or "256"',
      }),
      order: oneOf(KEY_ORDERS)
        .prefault('hmac_aes')
        .register(notes, {
          description: 'order of the secrets behind the name of a key',
          form: KEY_ORDERS.join(' or '),
        }),
      ...everyReloaded,
    }),
    z.strictObject({
      kind: kindOf('kubernetes-secret'),
      namespace: dnsLabel('namespace of the Secret'),
      secret: dnsLabel('name of the Secret'),
      format: oneOf(SECRET_FORMATS)
        .prefault('cilium')
        .register(notes, {
          description: 'fields that Cilium reads, or one field `ticket-keys.json`',
          form: SECRET_FORMATS.join(' or '),
        }),
      api: text()
        .regex(/^https?:\/\/[^\s/]+$/, { error: 'must be a URL, as in https://10.0.0.1:6443' })
        .optional()
        .register(notes, {
          description: 'the API server; http only to loopback, as `kubectl proxy` has it',
          form: 'URL',
          fallback: 'as pods see it',
        }),
      credentials: absolutePath().optional().register(notes, {
        description: 'folder with `token` and `ca.crt` for https',
        form: 'path of a folder',
        fallback: 'those of the pod',
      }),
      ...everyKind,
    }),
  ],
  { error: `must be ${TARGET_KINDS.join(', ')}` },
)

/** A target as it is after defaults. */
export type TargetSettings = z.output<typeof targetSchema>
export type SettingsOf<Kind extends TargetKind> = Extract<TargetSettings, { kind: Kind }>

/** The name of a target in metrics and messages. */
export function targetName({ name, group, kind }: TargetSettings): string {
  return name ?? `${group}-${kind}`
}

function kindOf<const Kind extends TargetKind>(kind: Kind) {
  const schema = z.literal(kind)
  notes.add(schema, { description: 'the terminator', form: 'name of a kind', fallback: 'required' })
  return schema
}

function absolutePath() {
  return text().regex(/^\/[^\0]*[^\0/]$/, { error: 'must be a path that begins with /' })
}

function command(description: string) {
  return list(text(), 1, MAX_ARGUMENTS)
    .optional()
    .register(notes, { description, form: 'list of words', fallback: 'none' })
}

function dnsLabel(description: string) {
  return text()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {
      error: 'must be small letters, digits, "-" or ".", as Kubernetes names things',
    })
    .register(notes, { description, form: 'text', fallback: 'required' })
}
