// The caches of all nodes: how full they are, what they found, and what they refused, by reason in words.

import type { ClusterDocument, Summary } from './cluster-state.ts'
import { ScrollArea } from './scroll-area.tsx'
import { bytes, counted, duration, percent, refusal, shortNumber, wholeNumber } from './words.ts'

type Cache = Summary['caches'][number]

/** Share of the limit from which on a cache counts as nearly full. */
const NEARLY_FULL = 0.9

interface Placed {
  readonly node: string
  readonly cache: Cache
}

export function Caches({ document }: { readonly document: ClusterDocument }) {
  const telling = document.nodes.filter(({ state }) => state !== 'silent')
  const placed = telling.flatMap(({ node, summary }) =>
    (summary?.caches ?? []).map((cache): Placed => ({ node, cache })),
  )
  const names = [...new Set(placed.map(({ cache }) => cache.name))]
  const more = telling.reduce((sum, { summary }) => sum + (summary?.more_caches ?? 0), 0)
  // A node may make ticket keys and hold no session.
  if (names.length === 0) return null
  return (
    <section aria-labelledby="caches">
      <h2 id="caches">Caches</h2>
      {names.map((name) => (
        <CacheTable
          key={name}
          name={name}
          placed={placed.filter(({ cache }) => cache.name === name)}
        />
      ))}
      {more > 0 && <p class="note">{counted(more, 'more cache')} not shown.</p>}
    </section>
  )
}

function CacheTable({
  name,
  placed,
}: {
  readonly name: string
  readonly placed: readonly Placed[]
}) {
  return (
    <ScrollArea label={`Table of the cache ${name}`}>
      <table class="caches stacked">
        <caption>
          {name}
          <span class="detail">counts of the last 10 minutes</span>
        </caption>
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Held</th>
            <th scope="col" class="number">
              Gets
            </th>
            <th scope="col" class="number">
              Hit ratio
            </th>
            <th scope="col" class="number">
              Stored
            </th>
            <th scope="col" class="number">
              Evicted
            </th>
            <th scope="col">Refused</th>
          </tr>
        </thead>
        <tbody>
          {placed.map((one) => (
            <CacheRow key={one.node} {...one} />
          ))}
        </tbody>
      </table>
    </ScrollArea>
  )
}

function CacheRow({ node, cache }: Placed) {
  const { recent } = cache
  const ratio = recent.gets === 0 ? 'no gets' : percent(recent.hits / recent.gets)
  return (
    <tr>
      <th scope="row">{node}</th>
      <td class="held">
        <Fill cache={cache} />
      </td>
      <td class="number" data-label="Gets">
        {shortNumber(recent.gets)}
      </td>
      <td class="number" data-label="Hit ratio">
        {ratio}
      </td>
      <td class="number" data-label="Stored">
        {shortNumber(recent.stored)}
      </td>
      <td class={recent.evicted > 0 ? 'number warning' : 'number'} data-label="Evicted">
        {shortNumber(recent.evicted)}
      </td>
      <td data-label="Refused">
        <Refusals refused={recent.refused} />
      </td>
    </tr>
  )
}

function Fill({ cache }: { readonly cache: Cache }) {
  const { items, items_limit, stored_bytes, timeout_ms, full } = cache
  const share = items / Math.max(1, items_limit)
  return (
    <div class="fill">
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="room" width="100" height="6" />
        <rect class={share >= NEARLY_FULL ? 'used high' : 'used'} width={share * 100} height="6" />
      </svg>
      <span>
        {wholeNumber(items)} of {wholeNumber(items_limit)} ({percent(share)})
      </span>
      <span class="detail">
        {bytes(stored_bytes)} · lifetime up to {duration(timeout_ms)} ·{' '}
        {full === 'refuse' ? 'refuses when full' : 'evicts when full'}
      </span>
    </div>
  )
}

function Refusals({ refused }: { readonly refused: Readonly<Record<string, number>> }) {
  const reasons = Object.entries(refused).filter(([, count]) => count > 0)
  if (reasons.length === 0) return <span class="none">none</span>
  return (
    <ul class="refusals">
      {reasons.map(([reason, count]) => (
        <li key={reason}>
          <strong>{shortNumber(count)}</strong> {refusal(reason)}
        </li>
      ))}
    </ul>
  )
}
