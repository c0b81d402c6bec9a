// The matrix of which node hears which: a row for each node that tells, a column for each one that it may hear.

import type { ClusterDocument, ClusterNode, Summary } from './cluster-state.ts'
import { Mark } from './problems.tsx'
import { ScrollArea } from './scroll-area.tsx'
import { counted, duration } from './words.ts'

type Peer = Summary['peers'][number]

/** With more columns than this a cell says only what is out of the ordinary. */
const WIDE_COLUMNS = 6

export function Matrix({ document }: { readonly document: ClusterDocument }) {
  const names = namesOf(document)
  const more = document.nodes.reduce((sum, { summary }) => sum + (summary?.more_peers ?? 0), 0)
  return (
    <section aria-labelledby="matrix">
      <h2 id="matrix">Who hears whom</h2>
      <ScrollArea label="Table of who hears whom">
        <table class={names.length > WIDE_COLUMNS ? 'matrix compact' : 'matrix'}>
          <thead>
            <tr>
              <th scope="col">
                <span class="corner">Row hears column</span>
              </th>
              {names.map((name) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {document.nodes.map((node) => (
              <Row key={`${node.node} ${node.boot}`} node={node} names={names} />
            ))}
          </tbody>
        </table>
      </ScrollArea>
      {more > 0 && <p class="note">{counted(more, 'more peer')} not shown.</p>}
    </section>
  )
}

/** The nodes in the order of the document, then whom only others know. */
function namesOf({ nodes }: ClusterDocument): string[] {
  const peers = nodes.flatMap(({ summary }) => summary?.peers ?? [])
  const known = peers.filter(({ name }) => name !== '').map(({ name }) => name)
  return [...new Set([...nodes.map(({ node }) => node), ...known])]
}

function Row({ node, names }: { readonly node: ClusterNode; readonly names: readonly string[] }) {
  const isOld = node.state === 'silent' || node.state === 'no_answer'
  return (
    <tr class={isOld ? 'old' : ''}>
      <th scope="row">
        <span class="name">{node.node}</span>
        <NodeState node={node} />
      </th>
      {names.map((name) => (
        <Cell key={name} node={node} name={name} isCompact={names.length > WIDE_COLUMNS} />
      ))}
    </tr>
  )
}

function NodeState({ node }: { readonly node: ClusterNode }) {
  const { state, summary, age_ms } = node
  switch (state) {
    case 'self':
    case 'told':
      return (
        <span class="detail">
          {summary?.ready === false ? 'not ready' : `up ${duration(summary?.uptime_ms ?? 0)}`} ·{' '}
          {summary?.release}
        </span>
      )
    case 'pending':
      return <span class="detail">asked in a moment</span>
    case 'older':
      return <span class="detail">an older release, which tells nothing</span>
    case 'no_answer':
      return (
        <span class="detail bad">
          <Mark level="warning" />
          gives no answer over TCP
        </span>
      )
    case 'silent':
      return (
        <span class="detail bad">
          <Mark level="error" />
          silent{age_ms === null ? '' : `; told ${duration(age_ms)} ago`}
        </span>
      )
  }
}

interface CellProps {
  readonly node: ClusterNode
  readonly name: string
  readonly isCompact: boolean
}

function Cell({ node, name, isCompact }: CellProps) {
  if (node.node === name) return <td class="self">itself</td>
  if (node.summary === null || node.state === 'silent') return <td class="unknown">unknown</td>
  const peers = node.summary.peers.filter((peer) => peer.name === name)
  // A restarted node is in the list with its earlier boot, too.
  const peer = peers.find(({ up }) => up) ?? peers[0]
  if (peer === undefined) {
    return <td class="unknown">{node.summary.more_peers > 0 ? 'not shown' : 'not known'}</td>
  }
  return peer.up ? (
    <td class={peer.sync?.state === 'failed' ? 'warning' : 'good'}>
      <span class="lag">
        {peer.sync?.state === 'failed' ? <Mark level="warning" /> : <Mark level="good" />}
        {peer.lag_ms === null ? 'hears' : `${peer.lag_ms} ms`}
      </span>
      <Details peer={peer} isCompact={isCompact} />
    </td>
  ) : (
    <td class="error">
      <span class="lag">
        <Mark level="error" />
        {peer.last_seen_ms === null ? 'never heard' : `silent ${duration(peer.last_seen_ms)}`}
      </span>
      <Details peer={peer} isCompact={isCompact} />
    </td>
  )
}

function Details({ peer, isCompact }: { readonly peer: Peer; readonly isCompact: boolean }) {
  const { lost, repaired, last_seen_ms, up, sync } = peer
  const lines: string[] = []
  if (sync?.state === 'failed') lines.push('comparing failed')
  if (!isCompact || lost > 0 || repaired > 0) lines.push(`${lost} lost, ${repaired} repaired`)
  if (!isCompact && up && last_seen_ms !== null) lines.push(`seen ${duration(last_seen_ms)} ago`)
  return (
    <>
      {lines.map((line) => (
        <span class="detail" key={line.replace(/\d/g, '')}>
          {line}
        </span>
      ))}
    </>
  )
}
