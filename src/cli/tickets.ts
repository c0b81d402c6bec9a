// `tlscached tickets`: what a node tells of its ticket keys, never a secret, and `tickets rotate`, which makes a new one.

import Table from 'cli-table3'
import { Command } from 'commander'
import { z } from 'zod'
import type { Address, UnixAddress } from '../base/address.ts'
import { formatDurationMs } from '../base/bytes.ts'
import { askNodeJson } from '../base/node-client.ts'
import { httpOption } from './http-option.ts'
import { callNode, rpcOption } from './rpc-client.ts'

const answerSchema = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      next_key_ms: z.number().nullable(),
      keys: z.array(
        z.object({ name: z.string(), state: z.string(), origin: z.string(), age_ms: z.number() }),
      ),
      targets: z.array(
        z.object({
          name: z.string(),
          last_success_ms: z.number().nullable(),
          current: z.boolean().nullable(),
          problem: z.object({ message: z.string() }).nullable(),
        }),
      ),
    }),
  ),
})

export function ticketsCommand(): Command {
  return new Command('tickets')
    .description(
      'Show the ticket keys of a node, without secrets, and the terminators that get them.',
    )
    .addOption(httpOption())
    .option('--json', 'print the document of GET /v1/tickets')
    .action(tickets)
    .addCommand(
      new Command('rotate')
        .description('Make a new ticket key; it waits as every new key does.')
        .argument('<group>', 'name of the group')
        .option('--now', 'make tickets with it as soon as the other nodes know it')
        .option(
          '--revoke',
          'retire all other keys on all nodes: tickets end, full handshakes follow',
        )
        .addOption(rpcOption())
        .action(rotate),
    )
}

async function tickets({ http, json }: { readonly http: Address; readonly json?: boolean }) {
  const answer = await askNodeJson(http, '/v1/tickets')
  if (json) {
    console.log(JSON.stringify(answer))
    return
  }
  const { groups } = answerSchema.parse(answer)
  if (groups.length === 0) console.log('this node has no ticket keys')
  for (const group of groups) {
    const rows = group.keys.map(({ name, state, age_ms, origin }) => [
      group.name,
      name,
      state,
      shownMs(age_ms),
      origin,
    ])
    console.log(tableOf(['group', 'key', 'use', 'age', 'made by'], rows))
    if (group.next_key_ms !== null)
      console.log(`next key in ${shownMs(group.next_key_ms)} at the latest`)
    if (group.targets.length === 0) continue
    const targets = group.targets.map(({ name, last_success_ms, current, problem }) => [
      name,
      last_success_ms === null ? 'never' : new Date(last_success_ms).toISOString(),
      current === null ? '' : current ? 'yes' : 'no',
      problem?.message ?? '',
    ])
    console.log(tableOf(['target', 'last success', 'uses the current key', 'problem'], targets))
  }
}

async function rotate(
  group: string,
  options: { readonly rpc: UnixAddress; readonly now?: boolean; readonly revoke?: boolean },
): Promise<void> {
  const isRevoking = options.revoke === true
  const call = { group, isImmediate: options.now === true, isRevoking }
  const result = await callNode(options.rpc, { kind: 'rotateTickets', ...call })
  if (result.kind === 'rotated') {
    console.log(
      isRevoking
        ? `all other ticket keys of ${group} are retired`
        : `${group} has a new ticket key`,
    )
    return
  }
  if (result.kind !== 'error') throw new Error('the node answered something else')
  throw new Error(WHY_NOT[result.code] ?? `the node failed: ${result.code}`)
}

const WHY_NOT: Readonly<Record<string, string>> = {
  no_such_group: 'the node has no group of this name in tickets.groups',
  unknown_call: 'the node is of an earlier release, which has no ticket keys',
  forbidden: 'the node does not take this call over this connection',
}

function shownMs(durationMs: number): string {
  return formatDurationMs(Math.round(durationMs / 1000) * 1000)
}

function tableOf(head: string[], rows: string[][]): string {
  const table = new Table({ head, style: { head: [], border: [] } })
  table.push(...rows)
  return table.toString()
}
