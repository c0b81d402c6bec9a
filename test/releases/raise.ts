// Raises every release of node-releases.json to the newest one of its line, and the README's sentence with it.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { PACKAGE, RELEASES_FILE, readReleases, sentenceOf } from './node-releases.ts'

const README = new URL('../../README.md', import.meta.url)

const answer = execFileSync('npm', ['view', PACKAGE, 'versions', '--json'], { encoding: 'utf8' })
const published: string[] = JSON.parse(answer)
const releases = readReleases()
const raised = releases.map((release) => {
  const [line = ''] = release.split('.')
  const ofLine = published.filter((version) => new RegExp(`^${line}\\.\\d+\\.\\d+$`).test(version))
  return ofLine.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1) ?? release
})
writeFileSync(RELEASES_FILE, `${JSON.stringify(raised).replaceAll(',', ', ')}\n`)
const readme = readFileSync(README, 'utf8')
writeFileSync(README, readme.replace(/Tested on Node\.js .*\(x64\)\./, sentenceOf(raised)))
for (const [index, release] of releases.entries()) {
  const next = raised[index]
  process.stdout.write(next === release ? `${release}\n` : `${release} -> ${next}\n`)
}
