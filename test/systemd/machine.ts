// A machine whose first process is systemd, for a test: boots, runs commands in it, and goes away with the test.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { until } from '../support/latch.ts'
import { whyWithoutFile, whyWithoutRoot } from '../support/programs.ts'

const SCRIPT = fileURLToPath(new URL('machine.sh', import.meta.url))
const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const BOOT_FAILSAFE_MS = 60_000
/** Longest command in the machine. */
const COMMAND_SEC = 60
/** In a process group of its own: a signal to that must not reach this process. */
const LIMIT = ['timeout', '--signal=KILL', String(COMMAND_SEC)]

/** Returns why this computer cannot run such a machine, or false when it can. */
export function whyWithoutMachine(): string | false {
  const why = whyWithoutRoot() || whyWithoutFile('/lib/systemd/systemd')
  if (why !== false) return why
  const { status, stdout } = spawnSync('bash', [SCRIPT, 'check'], { encoding: 'utf8' })
  if (status === 0) return false
  if (process.env['REQUIRE_ALL_TESTS'] !== undefined) throw new Error(stdout)
  return stdout.trim()
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Machine {
  readonly #script: ChildProcess
  readonly #answers: AsyncIterator<string>
  #pid = ''

  constructor() {
    const script = spawn('bash', [SCRIPT, REPOSITORY, process.execPath], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#script = script
    this.#answers = createInterface({ input: script.stdout })[Symbol.asyncIterator]()
  }

  /** Resolves when systemd has started everything. */
  async boot(): Promise<void> {
    const [, pid] = (await this.#ask('boot')).split(' ')
    assert.ok(pid, 'the machine does not boot')
    this.#pid = pid
    // Until systemd runs, the process has the file system of this computer.
    const isSystemd = () => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'systemd\n'
    await until('systemd runs', isSystemd, BOOT_FAILSAFE_MS)
    // A question that comes too early gets no answer.
    const state = () => this.try('timeout 2 systemctl is-system-running').stdout.trim()
    const isUp = () => ['running', 'degraded'].includes(state())
    await until('systemd has started everything', isUp, BOOT_FAILSAFE_MS)
  }

  /** Ends the machine at once; what is in /run is lost. */
  async cutPower(): Promise<void> {
    assert.equal(await this.#ask('halt'), 'halted')
  }

  /** Removes the machine and all that it was. */
  async remove(): Promise<void> {
    const ended = once(this.#script, 'exit')
    this.#script.stdin?.end()
    assert.deepEqual(await ended, [0, null])
  }

  /** Runs commands of bash as root. */
  try(commands: string): Ended {
    const enter = ['--mount', '--pid', '--cgroup', '--net', '--uts', '--ipc', '--root', '--wdns=/']
    const variables = [`PATH=${PATH}`, 'HOME=/root', 'LANG=C.UTF-8', 'SYSTEMD_PAGER=']
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [
        '-t',
        this.#pid,
        ...enter,
        'env',
        '-i',
        ...variables,
        ...LIMIT,
        'bash',
        '--norc',
        '-c',
        commands,
      ],
      { encoding: 'utf8', input: '' },
    )
    return { code: status, stdout, stderr }
  }

  /** Runs commands of bash as root, which must end with 0, and returns what they print. */
  run(commands: string): string {
    const { code, stdout, stderr } = this.try(`set -e\n${commands}`)
    assert.equal(code, 0, `${commands}\n${stdout}${stderr}`)
    return stdout
  }

  /** A property of a unit, as systemd shows it. */
  show(unit: string, property: string): string {
    return this.run(`systemctl show --property ${property} --value ${unit}`).trim()
  }

  async #ask(command: string): Promise<string> {
    this.#script.stdin?.write(`${command}\n`)
    const { value } = await this.#answers.next()
    return String(value)
  }
}
