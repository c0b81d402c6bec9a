// The page in a real browser, on a real cluster: what it says when all is well, when puts are refused and when a node
// is killed; by mouse, keyboard and screen reader.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { AxeResults } from 'axe-core'
import { type Browser, chromium, type Locator, type Page } from 'playwright-core'
import { silentLogger, systemRandom } from '../../src/base/world.ts'
import { type CacheNode, createNode } from '../../src/node/node.ts'
import { generateKey } from '../../src/wire/keyring.ts'
import { until } from '../support/latch.ts'
import { type NodeProcess, startServe } from '../support/node-processes.ts'
import { whyWithout } from '../support/programs.ts'
import { SpeedClock } from '../support/speed-clock.ts'

const CHROMIUM = 'chromium'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WAIT_MS = 15_000
const skip = whyWithout(CHROMIUM)

const folder = mkdtempSync(join(tmpdir(), 'tlscached-page-'))
const clock = new SpeedClock()
const keys = [generateKey(systemRandom)]
const caches = [{ name: 'ssl', items: 500, contexts: ['shop'] }]
const tickets = { groups: [{ name: 'www' }] }
const nodes = new Map<string, CacheNode>()
let third: NodeProcess
let browser: Browser
let url = ''

before(
  async () => {
    if (skip) return
    const launching = chromium.launch({
      executablePath: `/usr/bin/${CHROMIUM}`,
      args: ['--no-sandbox'],
    })
    const configOf = (name: string, peers: string[]) => ({
      node: { name },
      caches,
      tickets,
      replication: { listen: '127.0.0.1:0', keys, peers },
      frontends: { http: '127.0.0.1:0' },
    })
    const addresses: string[] = []
    for (const name of ['edge-1', 'edge-2']) {
      const node = createNode(configOf(name, [...addresses]), { clock, logger: silentLogger })
      nodes.set(name, node)
      await node.start()
      addresses.push(addressOf(node, 'replication'))
    }
    third = await startServe(folder, {
      node: { name: 'edge-3' },
      caches,
      tickets,
      replication: { listen: '127.0.0.1:0', keys, peers: addresses },
    })
    await until('all hear each other', () =>
      [...nodes.values()].every((node) => node.peers().filter(({ isUp }) => isUp).length === 2),
    )
    url = `http://${addressOf(nodeOf('edge-1'), 'http')}/`
    browser = await launching
  },
  { timeout: 60_000 },
)

after(async () => {
  await browser?.close()
  third?.child.kill('SIGKILL')
  await Promise.all([...nodes.values()].map((node) => node.stop()))
  rmSync(folder, { recursive: true })
})

function nodeOf(name: string): CacheNode {
  const node = nodes.get(name)
  if (node === undefined) throw new Error(`no node ${name}`)
  return node
}

function addressOf(node: CacheNode, frontend: string): string {
  return node.listening().find(({ name }) => name === frontend)?.address ?? ''
}

interface Look {
  readonly width?: number
  readonly colorScheme?: 'light' | 'dark'
}

/** Opens the page, runs `look`, and checks that the browser asked nobody else and complained of nothing. */
async function open(
  { width = 1280, colorScheme = 'light' }: Look,
  look: (page: Page) => Promise<void>,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme })
  const page = await context.newPage()
  page.setDefaultTimeout(WAIT_MS)
  const complaints: string[] = []
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith(url)) complaints.push(request.url())
  })
  await page.goto(url)
  await page.locator('.connection.live').waitFor()
  await look(page)
  assert.deepEqual(complaints, [])
  await context.close()
}

/** The text that is seen, line by line. */
async function textOf(locator: Locator): Promise<string> {
  return (await locator.allInnerTexts()).join('\n')
}

async function assertAccessible(page: Page): Promise<void> {
  await page.evaluate(AXE)
  const { violations, passes } = (await page.evaluate('axe.run()')) as AxeResults
  assert.ok(passes.length > 20)
  assert.deepEqual(
    violations.map(({ id, nodes: found }) => [id, found.map(({ html }) => html)]),
    [],
  )
}

async function assertFits(page: Page): Promise<void> {
  const [needed, width] = (await page.evaluate(
    '[document.documentElement.scrollWidth, innerWidth]',
  )) as [number, number]
  assert.ok(needed <= width, `${needed} pixels for ${width}`)
}

function putUnder(context: string, ids: number): void {
  const hooks = nodeOf('edge-2').hooks('ssl')
  for (let id = 1; id <= ids; id += 1) {
    const session = Buffer.alloc(100)
    hooks.put({ context: Buffer.from(context), id: Buffer.from([id]), session })
  }
}

test('all is well: three nodes that hear each other, from one of them', { skip }, async () => {
  putUnder('shop', 20)
  await open({}, async (page) => {
    await page.locator('.problems.good').waitFor()
    assert.match(await textOf(page.locator('.problems')), /All well\n+3 nodes\. edge-1: /)
    await page.waitForFunction("document.title === 'All well · edge-1 · tlscached'")
    const names = await page.locator('.matrix tbody .name').allInnerTexts()
    assert.deepEqual(names.toSorted(), ['edge-1', 'edge-2', 'edge-3'])
    assert.equal(await page.locator('.matrix td.good').count(), 6)
    assert.match(await textOf(page.locator('.caches')), /edge-3[\s\S]*20 of 500 \(4 %\)/)
    await assertAccessible(page)
    await assertFits(page)
  })
})

test('by keyboard alone: every control is reached, and the charts tell their values', {
  skip,
}, async () => {
  clock.run(10)
  await until('there are samples', () => nodeOf('edge-1').summary().rates.last >= 1)
  clock.run(1)
  await open({ width: 390, colorScheme: 'dark' }, async (page) => {
    const chart = page.getByRole('slider', { name: 'Lookups: the last hour' })
    await page.getByRole('region', { name: 'Table of who hears whom' }).focus()
    // From the table over the choice of a node to the first chart.
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    assert.equal(await page.locator('[role=slider]:focus').count(), 1)
    assert.match((await chart.getAttribute('aria-valuetext')) ?? '', /: gets [\d.k]+\/s, hits /)
    await page.keyboard.press('ArrowLeft')
    assert.equal(await chart.getAttribute('aria-valuenow'), '358')
    await assertAccessible(page)
    await assertFits(page)
  })
})

test('ticket keys are rotated: the page has the new one, and who holds it', { skip }, async () => {
  const isWhole = () => [...nodes.values()].every((node) => node.readiness().isReady)
  await until('all nodes have the ring', isWhole)
  await open({}, async (page) => {
    const row = (use: string) => page.locator('.tickets tbody tr', { hasText: use })
    await row('current: makes tickets').filter({ hasText: 'all 3 nodes' }).waitFor()
    const before = await textOf(row('current: makes tickets').locator('code'))
    nodeOf('edge-2').rotateTickets('www', { isImmediate: true, isRevoking: true })
    const current = row('current: makes tickets').filter({ hasNotText: before })
    await current.filter({ hasText: 'all 3 nodes' }).waitFor()
    assert.equal(await page.locator('.tickets tbody tr', { hasText: before }).count(), 0)
    assert.match(await textOf(page.locator('.tickets caption')), /www\s*a key every 60 min/)
  })
})

test('puts are refused on another node: the page says where, why and what to do', {
  skip,
}, async () => {
  await open({}, async (page) => {
    putUnder('mail', 42)
    const problem = page.locator('.problems ol > li', { hasText: 'Puts refused: ssl' })
    await problem.waitFor()
    assert.match(
      await textOf(problem),
      /on edge-2[\s\S]*refused 42 puts in the last 10 minutes \(context\)[\s\S]*To do: list the context/,
    )
    assert.match(await textOf(page.locator('.caches')), /42 context not accepted/)
    assert.match(await page.title(), /^1 problem.* · edge-1/)
    await assertAccessible(page)
    await problem.getByRole('link').click()
    await page.waitForURL(/page\/help\.html#puts-are-refused$/)
    await assertAccessible(page)
  })
})

test('a node is killed: the page says so, in the matrix too', { skip }, async () => {
  await open({}, async (page) => {
    third.child.kill('SIGKILL')
    clock.run(20)
    await until('it is silent', () =>
      nodeOf('edge-1')
        .peers()
        .some(({ name, isUp }) => name === 'edge-3' && !isUp),
    )
    clock.run(1)
    const problem = page.locator('.problems ol > li', { hasText: 'Node silent: edge-3' })
    await problem.waitFor()
    assert.match(await textOf(problem), /edge-3 has been silent for \d+ s: nothing is repl/)
    assert.match(await textOf(page.locator('.matrix tr.old')), /edge-3\n[\s\S]*silent/)
    await page.locator('.matrix td.error').first().waitFor()
    await assertAccessible(page)
  })
})

test('ticket keys are late: the page says for how long, once for all nodes, and what to type', {
  skip,
}, async (t) => {
  // Nodes that make no key, as when each of them waits for another one.
  for (const node of nodes.values()) {
    for (const ring of node.tickets?.authority.rings ?? []) t.mock.method(ring, 'tick', () => false)
  }
  clock.run(2000)
  const isLate = ({ code }: { code: string }) => code === 'ticket_keys_late'
  await until('keys are late', () =>
    [...nodes.values()].every((node) => node.summary().problems.some(isLate)),
  )
  clock.run(1)
  await open({}, async (page) => {
    const problem = page.locator('.problems ol > li', { hasText: 'Ticket keys late: www' })
    await problem.filter({ hasText: 'edge-1, edge-2' }).waitFor()
    const text = await textOf(problem)
    assert.match(text, /The next ticket key of the group www is late by \d+ min/)
    assert.equal(text.split('is late by').length, 2)
    assert.match(text, /tlscached tickets rotate www makes one/)
    assert.match(
      await textOf(page.locator('.tickets caption')),
      /a new one has been due for \d+ min/,
    )
    await assertAccessible(page)
  })
})

test('the node of the page itself goes: the page does not go on as if all were well', {
  skip,
}, async () => {
  const context = await browser.newContext()
  const page = await context.newPage()
  await page.goto(url)
  await page.locator('.connection.live').waitFor()
  await nodeOf('edge-1').stop()
  await page.locator('.connection.lost').waitFor({ timeout: WAIT_MS })
  assert.match(await textOf(page.locator('.problems')), /No answer\n+edge-1 has not answered/)
  assert.match(await page.title(), /^no answer/)
  await assertAccessible(page)
  await context.close()
})
