// The files of the page over HTTP: their policy, their caching, who may ask for them, and where problems link to.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { setUp } from '../support/http-app.ts'

const MAX_BYTES = 150_000
const SOURCE = readFileSync(new URL('../../src/status/problems.ts', import.meta.url), 'utf8')

const VISIT = {
  'sec-fetch-site': 'cross-site',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
}

test('the page loads from its node alone, and all of it is small', async () => {
  const { app } = setUp()
  const { body: html } = await app.inject('/')
  const loaded = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = '']) => url)
  assert.deepEqual(loaded.toSorted(), ['page/icon.svg', 'page/page.css', 'page/page.js'])
  let total = 0
  for (const url of ['/', ...loaded.map((path) => `/${path}`)]) {
    const { statusCode, headers, rawPayload } = await app.inject(url)
    assert.equal(statusCode, 200, url)
    assert.match(
      String(headers['content-security-policy']),
      /^default-src 'none'; script-src 'self';/,
    )
    assert.doesNotMatch(String(headers['content-security-policy']), /unsafe|https?:|\*/)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    total += gzipSync(rawPayload).length
    assert.doesNotMatch(rawPayload.toString(), /https?:\/\/(?!www\.w3\.org\/)/, url)
  }
  assert.ok(total < MAX_BYTES, `${total} bytes`)
})

test('the page comes compressed to clients that accept that, and not again when it is unchanged', async () => {
  const { app } = setUp()
  const plain = await app.inject('/page/page.js')
  const packed = await app.inject({
    url: '/page/page.js',
    headers: { 'accept-encoding': 'gzip, br' },
  })
  assert.deepEqual(
    [packed.headers['content-encoding'], packed.headers['content-type']],
    ['gzip', 'text/javascript; charset=utf-8'],
  )
  assert.deepEqual(gunzipSync(packed.rawPayload), plain.rawPayload)
  const again = await app.inject({
    url: '/page/page.js',
    headers: { 'if-none-match': String(plain.headers.etag) },
  })
  assert.deepEqual([again.statusCode, again.body], [304, ''])
})

test('no other file is served', async () => {
  const { send } = setUp()
  for (const name of ['main.tsx', '..%2Fcli%2Fmain.js', 'index', '']) {
    assert.equal((await send('GET', `/page/${name}`)).status, 404, name)
  }
})

test('a link from anywhere opens it, and a foreign page can neither load nor read it', async () => {
  const { app } = setUp()
  const statusOf = async (url: string, headers: Record<string, string>) =>
    (await app.inject({ url, headers })).statusCode
  assert.equal(await statusOf('/', VISIT), 200)
  assert.equal(await statusOf('/page/help.html', VISIT), 200)
  assert.equal(await statusOf('/', { ...VISIT, 'sec-fetch-dest': 'iframe' }), 403)
  assert.equal(await statusOf('/page/page.js', { 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await statusOf('/v1/cluster', VISIT), 403)
  assert.equal(await statusOf('/', { ...VISIT, host: 'rebound.example' }), 403)
  assert.equal(await statusOf('/', { ...VISIT, origin: 'http://mail.example' }), 403)
})

test('the help has the section of every problem', async () => {
  const { app } = setUp()
  const { body } = await app.inject('/page/help.html')
  const sections = [...SOURCE.matchAll(/\$\{PAGE\}([\w-]+)/g)].map(([, section = '']) => section)
  assert.ok(sections.length >= 5)
  for (const section of sections) assert.ok(body.includes(`id="${section}"`), section)
  // Other files of the documentation are not served, so nothing links to them.
  assert.deepEqual([...body.matchAll(/href="(?!#|\.\.|page\.css|icon\.svg)[^"]*"/g)], [])
})
