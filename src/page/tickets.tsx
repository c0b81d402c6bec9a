// The ticket keys of each group on a time line, who holds them, and the terminators that get them.

import type { ClusterDocument, Summary } from './cluster-state.ts'
import { Mark } from './problems.tsx'
import { ScrollArea } from './scroll-area.tsx'
import { duration } from './words.ts'

type Tickets = NonNullable<Summary['tickets']>
type Group = Tickets['groups'][number]
type Target = Tickets['targets'][number]

/** A key, and the nodes that hold it. */
interface HeldKey {
  readonly name: string
  readonly ageMs: number
  /** What each node uses it for; just after a rotation they may differ. */
  readonly uses: readonly { readonly node: string; readonly state: string }[]
}

interface Told {
  readonly node: string
  readonly tickets: Tickets
}

const USES: Readonly<Record<string, string>> = {
  next: 'next: opened, not used yet',
  current: 'current: makes tickets',
  previous: 'previous: only opened',
}

export function TicketKeys({ document }: { readonly document: ClusterDocument }) {
  const told = document.nodes.flatMap(({ node, state, summary }): Told[] =>
    state === 'silent' || !summary?.tickets ? [] : [{ node, tickets: summary.tickets }],
  )
  if (told.length === 0) return null
  const groups = [...new Set(told.flatMap(({ tickets }) => tickets.groups.map((one) => one.group)))]
  const targets = told.flatMap(({ node, tickets }) =>
    tickets.targets.map((target) => ({ node, target })),
  )
  return (
    <section aria-labelledby="tickets">
      <h2 id="tickets">Ticket keys</h2>
      {groups.map((group) => (
        <GroupTable key={group} name={group} told={told} />
      ))}
      {targets.length > 0 && <Targets targets={targets} />}
    </section>
  )
}

function GroupTable({ name, told }: { readonly name: string; readonly told: readonly Told[] }) {
  const rings = told.flatMap(({ node, tickets }) => {
    const group = tickets.groups.find((one) => one.group === name)
    return group === undefined ? [] : [{ node, group }]
  })
  const first = rings[0]?.group
  if (first === undefined) return null
  const keys = keysOf(rings)
  const spanMs = Math.max(first.rotate_ms, ...keys.map(({ ageMs }) => ageMs))
  return (
    <ScrollArea label={`Table of the ticket keys of ${name}`}>
      <table class="tickets stacked">
        <caption>
          {name}
          <span class="detail">{sentenceOf(first, keys[0]?.ageMs ?? 0)}</span>
        </caption>
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">Use</th>
            <th scope="col">Since it was made</th>
            <th scope="col">Held by</th>
          </tr>
        </thead>
        <tbody>
          {keys.map((key) => (
            <tr key={key.name}>
              <th scope="row">
                <code>{key.name}</code>
              </th>
              <td data-label="Use">{useOf(key)}</td>
              <td>
                <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                  <rect class="room" width="100" height="8" />
                  <rect
                    class={`key ${key.uses[0]?.state}`}
                    x={100 - (key.ageMs / spanMs) * 100}
                    width={Math.max(1, (key.ageMs / spanMs) * 100)}
                    height="8"
                  />
                </svg>
                <span class="detail">{duration(key.ageMs)} old</span>
              </td>
              <td data-label="Held by">{holdersOf(key, rings.length)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollArea>
  )
}

/** The keys of all nodes, the youngest first. A node that knows more of a key's age is right. */
function keysOf(rings: readonly { node: string; group: Group }[]): HeldKey[] {
  const held = new Map<string, HeldKey>()
  for (const { node, group } of rings) {
    for (const { name, state, age_ms } of group.keys) {
      const other = held.get(name)
      held.set(name, {
        name,
        ageMs: Math.max(age_ms, other?.ageMs ?? 0),
        uses: [...(other?.uses ?? []), { node, state }],
      })
    }
  }
  return [...held.values()].sort((one, other) => one.ageMs - other.ageMs)
}

function useOf({ uses }: HeldKey): string {
  const states = [...new Set(uses.map(({ state }) => state))]
  const [only = ''] = states
  if (states.length === 1) return USES[only] ?? only
  const nodesIn = (state: string) => uses.filter((use) => use.state === state)
  return states
    .map(
      (state) =>
        `${state} on ${nodesIn(state)
          .map(({ node }) => node)
          .join(', ')}`,
    )
    .join('; ')
}

function holdersOf({ uses }: HeldKey, all: number) {
  const nodes = uses.map(({ node }) => node)
  if (nodes.length === all) return all === 1 ? nodes[0] : `all ${all} nodes`
  return (
    <span class="held-by-some">
      <Mark level="warning" />
      only {nodes.join(', ')}
    </span>
  )
}

/** What is to come, by the age of the youngest key. */
function sentenceOf(group: Group, youngestMs: number): string {
  const { rotate_ms, lifetime_ms, next_key_ms, next_current_ms } = group
  const parts = [`a key every ${duration(rotate_ms)}`, `tickets live ${duration(lifetime_ms)}`]
  if (next_current_ms !== null) parts.push(`the next one is used in ${duration(next_current_ms)}`)
  else if (next_key_ms === 0 && youngestMs > rotate_ms) {
    parts.push(`a new one has been due for ${duration(youngestMs - rotate_ms)}`)
  } else if (next_key_ms !== null) parts.push(`a new one in ${duration(next_key_ms)}`)
  return parts.join(' · ')
}

interface TargetsProps {
  readonly targets: readonly { readonly node: string; readonly target: Target }[]
}

function Targets({ targets }: TargetsProps) {
  return (
    <ScrollArea label="Table of the terminators that get ticket keys">
      <table class="tickets stacked">
        <caption>Terminators</caption>
        <thead>
          <tr>
            <th scope="col">Terminator</th>
            <th scope="col">By node</th>
            <th scope="col">Group</th>
            <th scope="col">Given keys</th>
            <th scope="col">State</th>
          </tr>
        </thead>
        <tbody>
          {targets.map(({ node, target }) => (
            <tr key={`${node} ${target.name}`}>
              <th scope="row">
                {target.name} <span class="detail">{target.kind}</span>
              </th>
              <td data-label="By node">{node}</td>
              <td data-label="Group">{target.group}</td>
              <td data-label="Given keys">
                {target.given_ms === null ? 'never' : `${duration(target.given_ms)} ago`}
              </td>
              <TargetState target={target} />
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollArea>
  )
}

function TargetState({ target }: { readonly target: Target }) {
  const { problem, current, given_ms } = target
  if (problem !== null) {
    return (
      <td class="error">
        <Mark level="error" />
        {problem}
      </td>
    )
  }
  if (current === false) {
    return (
      <td class="warning">
        <Mark level="warning" />
        its tickets are under another key
      </td>
    )
  }
  if (given_ms === null) return <td>waits for its first keys</td>
  return (
    <td>
      <Mark level="good" />
      {current === true ? 'its tickets are under the current key' : 'has the keys'}
    </td>
  )
}
