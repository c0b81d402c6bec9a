// What a row of prove's faults is: a kind of terminator, a fault, and the findings that name it.

import type { FindingCode } from '../../src/prove/finding-texts.ts'
import type { ProveOptions } from '../../src/prove/prove.ts'
import { runApache } from '../terminators/apache.ts'
import { runNginx } from '../terminators/nginx.ts'
import { runStunnel } from '../terminators/stunnel.ts'
import type { Kind, Setup } from './clusters.ts'
import { runHaproxy, runPlainNginx } from './ticket-servers.ts'

export const KINDS = {
  Apache: { frontend: 'memcached', start: runApache },
  stunnel: {
    frontend: 'sessiond',
    start: async (host, where, changes) => (await runStunnel(host, where, changes)).shop,
  },
  'stunnel, client certificate': {
    frontend: 'sessiond',
    start: async (host, where, changes) => (await runStunnel(host, where, changes)).admin,
  },
  'nginx + lua': { frontend: 'memcached', start: runNginx },
  nginx: { start: runPlainNginx },
  HAProxy: { start: runHaproxy },
} as const satisfies Readonly<Record<string, Kind>>

export interface Row extends Setup {
  readonly kind: keyof typeof KINDS
  readonly fault: string
  /** Codes of all errors and warnings, in order of the alphabet; none when all resumed. */
  readonly says: readonly FindingCode[]
  /** Codes that come with them by chance, as a balancer takes servers in turn. */
  readonly maySay?: readonly FindingCode[]
  /** Whether all resumes in spite of what is said. */
  readonly isResumed?: boolean
  /** Left out in the short form. */
  readonly isLong?: boolean
}

export const ONLY_12 = { tls: ['1.2'] } as const satisfies Partial<ProveOptions>
/** Long enough for a lifetime of five seconds. */
export const LATER = { laterMs: 7000 }
