// The rates of the last hour, of all nodes together or of one.

import { useState } from 'preact/hooks'
import { Chart, type ChartProps } from './chart.tsx'
import { type ClusterDocument, hitRatios, ratePerSec } from './cluster-state.ts'
import { percent, shortNumber } from './words.ts'

const ALL = ''

export interface RatesProps {
  readonly document: ClusterDocument
  /** Time of day at which the document came, in ms since 1970. */
  readonly heardWallMs: number
}

export function Rates({ document, heardWallMs }: RatesProps) {
  const [chosen, choose] = useState(ALL)
  const [cursor, setCursor] = useState<number | undefined>(undefined)
  const telling = document.nodes.filter(
    ({ state, summary }) => summary !== null && state !== 'silent',
  )
  const names = telling.map(({ node }) => node)
  const name = names.includes(chosen) ? chosen : ALL
  const summaries = telling
    .filter(({ node }) => name === ALL || node === name)
    .flatMap(({ summary }) => summary ?? [])
  const shared: Pick<ChartProps, 'periodMs' | 'endMs' | 'cursor' | 'onCursor'> = {
    periodMs: summaries[0]?.rates.period_ms ?? 10_000,
    // A page whose node does not answer goes on showing the hour that it knows.
    endMs: heardWallMs,
    cursor,
    onCursor: setCursor,
  }
  const perSec = (value: number) => `${shortNumber(value)}/s`
  return (
    <section aria-labelledby="rates">
      <div class="heading">
        <h2 id="rates">Last hour</h2>
        {names.length > 1 && (
          <label>
            of{' '}
            <select value={name} onChange={({ currentTarget }) => choose(currentTarget.value)}>
              <option value={ALL}>all nodes</option>
              {names.map((node) => (
                <option key={node} value={node}>
                  {node}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      <div class="charts">
        <Chart
          title="Lookups"
          format={perSec}
          lines={[
            { name: 'gets', style: 'first', values: ratePerSec(summaries, 'gets') },
            { name: 'hits', style: 'second', values: ratePerSec(summaries, 'hits') },
          ]}
          {...shared}
        />
        <Chart
          title="Hit ratio"
          format={percent}
          top={1}
          lines={[{ name: 'hits of gets', style: 'second', values: hitRatios(summaries) }]}
          {...shared}
        />
        <Chart
          title="Sessions put"
          format={perSec}
          lines={[
            { name: 'stored', style: 'first', values: ratePerSec(summaries, 'puts') },
            { name: 'refused', style: 'bad', values: ratePerSec(summaries, 'refused') },
          ]}
          {...shared}
        />
        <Chart
          title="Sessions from peers, and evicted"
          format={perSec}
          lines={[
            { name: 'received', style: 'first', values: ratePerSec(summaries, 'received') },
            { name: 'evicted', style: 'bad', values: ratePerSec(summaries, 'evicted') },
          ]}
          {...shared}
        />
      </div>
    </section>
  )
}
