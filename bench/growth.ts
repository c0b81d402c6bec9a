// How cost grows: the store with its items, replication with the nodes, joining with the entries to copy.
// Each series is a table and a plot.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { measureReplication, PUTS_PER_SEC, type ReplicationSize } from './growth-replication.ts'
import { measureSnapshot } from './growth-snapshot.ts'
import { drawPlot, type Plot, type Point } from './plot.ts'
import type { BenchResult } from './results.ts'
import { type RandomRatesResult, work } from './store.ts'
import { type Row, rowOf } from './table.ts'
import { medianOf } from './versus.ts'

const PLOTS = fileURLToPath(new URL('./plots/', import.meta.url))
const STORE_ITEMS = [1000, 10_000, 100_000, 1_000_000, 5_000_000]
const NODES = [2, 4, 8, 16]
const SNAPSHOT_ENTRIES = [1000, 10_000, 100_000, 1_000_000]

/** A short run draws as well, but keeps nothing: its figures say little. */
export async function benchGrowth(isQuick: boolean): Promise<BenchResult[]> {
  const folder = isQuick ? mkdtempSync(join(tmpdir(), 'tlscached-plots-')) : PLOTS
  mkdirSync(folder, { recursive: true })
  const sections = [
    await storeGrowth(isQuick),
    await replicationGrowth(isQuick),
    await snapshotGrowth(isQuick),
  ]
  const results: BenchResult[] = []
  for (const { name, rows, plots } of sections) {
    for (const [file, plot] of Object.entries(plots)) await drawPlot(join(folder, file), plot)
    const drawn = Object.entries(plots).map(([file, { title }]) => ({ file, title }))
    results.push({ name, rows, plots: drawn })
  }
  if (isQuick) rmSync(folder, { recursive: true })
  return results
}

interface Section {
  readonly name: string
  readonly rows: readonly Row[]
  /** By the name of their file. */
  readonly plots: Record<string, Plot>
}

async function storeGrowth(isQuick: boolean): Promise<Section> {
  const rows: Row[] = []
  const gets: Point[] = []
  const puts: Point[] = []
  for (const items of isQuick ? STORE_ITEMS.slice(0, 2) : STORE_ITEMS) {
    const rates: RandomRatesResult = await work('random', items, isQuick ? 1 : 5)
    for (const [what, points, perSec] of [
      ['get', gets, rates.getsPerSec],
      ['put', puts, rates.putsPerSec],
    ] as const) {
      const point = pointOf(
        items,
        perSec.map((rate) => 1e6 / rate),
      )
      points.push(point)
      const name = `${what}, ${items.toLocaleString('en')} items: ${point.y.toFixed(2)} us each`
      rows.push(rowOf(name, '/s', perSec))
    }
  }
  const plot: Plot = {
    title: 'Get and put in process, uniformly at random',
    x: { title: 'items in the cache', marks: gets.map(({ x }) => x) },
    y: { title: 'time of one operation (µs)' },
    series: [
      { name: 'get', points: gets },
      { name: 'put', points: puts },
    ],
    expectation: { how: 'constant', through: 'first' },
  }
  return { name: 'growth: get and put', rows, plots: { 'store.svg': plot } }
}

async function replicationGrowth(isQuick: boolean): Promise<Section> {
  const sizes: ReplicationSize[] = []
  for (const nodes of isQuick ? NODES.slice(0, 1) : NODES) {
    sizes.push(await measureReplication(nodes, isQuick))
  }
  const rows = sizes.flatMap((size): Row[] => {
    const among = `${size.nodes} nodes`
    return [
      rowOf(`${among}: puts, ${PUTS_PER_SEC}/s wanted`, '/s', size.putsPerSec),
      rowOf(`${among}: datagrams sent by the sender for a put`, '', size.datagramsPerPut),
      rowOf(`${among}: CPU time of the sender for a put`, 'us', size.senderCpuUs),
      rowOf(`${among}: CPU time of one receiver for a put`, 'us', size.receiverCpuUs),
      { what: `${among}: CPU time of an idle one, a second`, value: size.idleCpuUs, unit: 'us' },
      {
        what: `${among}: missing at the end, of ${size.puts} on each receiver`,
        value: size.missing,
        unit: '',
        goal: 0,
      },
    ]
  })
  const series = (name: string, of: (size: ReplicationSize) => readonly number[]) => ({
    name,
    points: sizes.map((size) => pointOf(size.nodes - 1, of(size))),
  })
  const x = { title: 'peers of the sender (nodes but itself)', marks: sizes.map(peersOf) }
  const expectation = { how: 'linear', through: 'first' } as const
  const datagrams: Plot = {
    title: 'Datagrams of a put, over unicast',
    x,
    y: { title: 'datagrams sent for one put' },
    series: [series('sender', ({ datagramsPerPut }) => datagramsPerPut)],
    expectation,
  }
  const cpu: Plot = {
    title: 'Processor time of a put',
    x,
    y: { title: 'processor time for one put (µs)' },
    series: [
      series('sender', ({ senderCpuUs }) => senderCpuUs),
      series('one receiver', ({ receiverCpuUs }) => receiverCpuUs),
    ],
    expectation,
  }
  const plots = { 'replication-datagrams.svg': datagrams, 'replication-cpu.svg': cpu }
  return { name: 'growth: replication', rows, plots }
}

function peersOf({ nodes }: ReplicationSize): number {
  return nodes - 1
}

async function snapshotGrowth(isQuick: boolean): Promise<Section> {
  const rows: Row[] = []
  const points: Point[] = []
  for (const entries of isQuick ? SNAPSHOT_ENTRIES.slice(0, 1) : SNAPSHOT_ENTRIES) {
    const { tookSec } = await measureSnapshot(entries, isQuick)
    const point = pointOf(entries, tookSec)
    points.push(point)
    const eachUs = ((point.y / entries) * 1e6).toFixed(1)
    const name = `a new node copies ${entries.toLocaleString('en')} entries: ${eachUs} us each`
    rows.push(rowOf(name, 's', tookSec))
  }
  const plot: Plot = {
    title: 'A new node copies what the others hold',
    x: { title: 'entries' },
    y: { title: 'time until it holds all of them (s)' },
    series: [{ name: 'copy', points }],
    expectation: { how: 'linear', through: 'last' },
  }
  return { name: 'growth: joining', rows, plots: { 'snapshot.svg': plot } }
}

function pointOf(x: number, rounds: readonly number[]): Point {
  return { x, y: medianOf(rounds), spread: [Math.min(...rounds), Math.max(...rounds)] }
}
