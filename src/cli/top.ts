// `tlscached top`: what the nodes of a cluster do and what is wrong with them, on a terminal, again and again.

import { emitKeypressEvents } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { Command, Option } from 'commander'
import type { Address } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { askNodeJson } from '../base/node-client.ts'
import { httpOption } from './http-option.ts'
import { askCluster } from './stats.ts'
import { DEFAULT_INTERVAL_MS, interval, outputColumns, printable, Screen } from './terminal.ts'
import { type TopCluster, topLines } from './top-lines.ts'

interface TopOptions {
  readonly http: Address
  readonly node?: string
  readonly interval: number
  readonly json?: boolean
}

export function topCommand(): Command {
  return new Command('top')
    .description(
      'Show what the nodes of a cluster do, and their problems, until q is typed. In a pipe: once.',
    )
    .addOption(httpOption())
    .option('--node <name>', 'show this node of the cluster alone')
    .addOption(
      new Option('--interval <duration>', 'time between two looks')
        .argParser(interval)
        .default(DEFAULT_INTERVAL_MS, '2s'),
    )
    .option('--json', 'print the document of GET /v1/cluster once')
    .action(top)
}

async function top(options: TopOptions): Promise<void> {
  if (options.json) {
    console.log(JSON.stringify(await askNodeJson(options.http, '/v1/cluster')))
    return
  }
  const cluster = await askCluster(options.http)
  const { node } = options
  if (node !== undefined && !cluster.nodes.some((one) => one.node === node)) {
    const names = cluster.nodes.map((one) => one.node).join(', ')
    throw new TlscachedError('ERR_USAGE', `--node: no node "${node}"; known are ${names}`)
  }
  if (process.stdout.isTTY && process.stdin.isTTY) await showOnScreen(options, cluster)
  else console.log(topLines(cluster, node, outputColumns()).map(printable).join('\n'))
}

/** Draws again after each interval, at each key and when the terminal changes its size, until q or Ctrl-C is typed. */
async function showOnScreen(options: TopOptions, first: TopCluster): Promise<void> {
  const { http, node, interval: intervalMs } = options
  const screen = new Screen()
  const ended = new AbortController()
  let cluster = first
  let trouble = ''
  let from = 0
  const draw = () => {
    const lines = topLines(cluster, node, screen.columns)
    from = Math.max(0, Math.min(from, lines.length - screen.rows + 1))
    const time = new Date().toLocaleTimeString()
    const title = `tlscached top, asked ${cluster.node} at ${time}   q: quit, arrows: scroll   ${trouble}`
    screen.draw([title, ...lines.slice(from)])
  }
  const scroll = (rows: number) => {
    from += rows
    draw()
  }
  const keys: Readonly<Record<string, () => void>> = {
    q: () => ended.abort(),
    up: () => scroll(-1),
    down: () => scroll(1),
    pageup: () => scroll(-screen.rows),
    pagedown: () => scroll(screen.rows),
  }
  const onKey = (_text: string, key: { readonly name?: string; readonly ctrl?: boolean }) => {
    if (key.ctrl === true && key.name === 'c') ended.abort()
    else keys[key.name ?? '']?.()
  }
  const onSignal = () => ended.abort()
  emitKeypressEvents(process.stdin)
  process.stdin.on('keypress', onKey)
  process.stdin.setRawMode(true)
  process.stdout.on('resize', draw)
  process.once('SIGTERM', onSignal)
  process.once('SIGHUP', onSignal)
  screen.open()
  try {
    while (!ended.signal.aborted) {
      draw()
      await delay(intervalMs, undefined, { signal: ended.signal }).catch(() => {})
      if (ended.signal.aborted) break
      try {
        cluster = await askCluster(http)
        trouble = ''
      } catch (error) {
        trouble = messageOf(error)
      }
    }
  } finally {
    screen.close()
    process.stdin.setRawMode(false)
    process.stdin.pause()
    process.stdin.off('keypress', onKey)
    process.stdout.off('resize', draw)
  }
}
