// `tlscached terminate`: the reference terminator. The first process starts the others, answers for all of
// them, and serves no client itself.

import cluster from 'node:cluster'
import { Command } from 'commander'
import { formatAddress } from '../base/address.ts'
import { systemClock } from '../base/clock.ts'
import { TlscachedError } from '../base/errors.ts'
import { createLogger, type Logger, silentLogger } from '../base/logger.ts'
import { readVersion } from '../base/version.ts'
import { TerminatorMetrics } from '../terminator/metrics.ts'
import { MetricsServer } from '../terminator/metrics-server.ts'
import {
  createTerminatorProcess,
  type TerminatorProcess,
} from '../terminator/terminator-process.ts'
import { Worker, type WorkerChannel } from '../terminator/worker.ts'
import { type WorkerHandle, WorkerPool } from '../terminator/worker-pool.ts'
import { WorkerReplacement } from '../terminator/worker-replacement.ts'
import { type Stop, stopOnSignal } from './stop-on-signal.ts'
import {
  addTerminateOptions,
  readTerminatorConfig,
  type TerminateOptions,
} from './terminate-options.ts'

export function terminateCommand(): Command {
  const command = new Command('terminate').description(
    'Terminate TLS in several processes that share the sessions of a node, and pass plain TCP on.',
  )
  return addTerminateOptions(command).action(terminate)
}

async function terminate(options: TerminateOptions): Promise<void> {
  if (cluster.isPrimary) await runPrimary(options)
  else runWorker(options)
}

async function runPrimary(options: TerminateOptions): Promise<void> {
  process.title = 'tlscached terminate primary'
  // Each process takes its connections from the kernel. Where this one hands them out, a connection that
  // comes just as the others stop is held by nobody, open, until this one ends, too.
  cluster.schedulingPolicy = cluster.SCHED_NONE
  const logger = loggerOf(options, 'primary')
  checkOptions(options)
  const { processes, drain: drainMs } = options
  const pool = new WorkerPool({ processes, fork, drainMs, logger })
  const source = new TerminatorMetrics(readVersion(), () => pool.stats())
  const metrics = new MetricsServer(source, logger)
  const running = {
    stop: async () => {
      const isClean = await pool.stop()
      await metrics.stop()
      if (!isClean) throw new TlscachedError('ERR_DEADLINE', 'connections were cut off')
    },
    kill: () => pool.kill(),
  }
  // The pool waits no longer than its processes may drain.
  const stop = stopOnSignal(running, logger, Number.POSITIVE_INFINITY)
  if (process.send !== undefined) stopWithParent(stop)
  const check = () => checkOptions(options)
  const replacement = new WorkerReplacement({ check, replace: () => pool.replace(), logger })
  process.on('SIGHUP', () => void replacement.ask())
  const metricsAddress = options.metrics && (await metrics.start(options.metrics))
  try {
    for (const address of await pool.start()) sayListening('tls', address, options)
  } catch (error) {
    await metrics.stop()
    throw error
  }
  if (metricsAddress) sayListening('metrics', formatAddress(metricsAddress), options)
}

/** Who is started with a channel ends with the process at its other end: a node that is gone has no use for it. */
function stopWithParent(stop: Stop): void {
  const end = () => stop('the end of the parent process', 0)
  // It may have ended while this one started.
  if (!process.connected) end()
  process.once('disconnect', end)
  // Waiting for that keeps no process that has nothing else to do.
  process.channel?.unref()
}

/** Whatever is wrong with files and options shows here, once. Opens nothing. */
function checkOptions(options: TerminateOptions): void {
  createProcess(options, silentLogger)
}

function runWorker(options: TerminateOptions): void {
  const channel: WorkerChannel = {
    send: (message, sent) => process.send?.(message, undefined, {}, sent),
    onMessage: (listener) => process.on('message', listener),
    exit: (code) => process.exit(code),
  }
  const create = (number: number) => {
    process.title = `tlscached terminate ${number}`
    return createProcess(options, loggerOf(options, `process ${number}`))
  }
  const worker = new Worker(channel, create, options.drain)
  // The primary may be told alone, or all processes at once by a terminal or a service manager.
  process.on('SIGTERM', () => void worker.drain())
  process.on('SIGINT', () => void worker.drain())
  process.on('SIGHUP', () => {})
}

function createProcess(options: TerminateOptions, logger: Logger): TerminatorProcess {
  const config = readTerminatorConfig(options)
  try {
    return createTerminatorProcess(config, { clock: systemClock, logger })
  } catch (error) {
    throw isUsageError(error) ? new TlscachedError('ERR_USAGE', toFlag(error.message)) : error
  }
}

function isUsageError(error: unknown): error is TlscachedError {
  return error instanceof TlscachedError && error.code === 'ERR_USAGE'
}

/** connectHooks names its options, which are flags here. */
function toFlag(message: string): string {
  return message.replace(/^connectHooks: /, '--')
}

function fork(): WorkerHandle {
  const worker = cluster.fork()
  // A message to a worker that is just ending: its end is heard by itself.
  worker.on('error', () => {})
  return {
    send: (message) => void (worker.isConnected() && worker.send(message)),
    kill: () => worker.process.kill('SIGKILL'),
    onMessage: (listener) => worker.on('message', listener),
    onExit: (listener) => worker.on('exit', (code, signal) => listener(signal || `code ${code}`)),
  }
}

function loggerOf({ logLevel, logFormat }: TerminateOptions, role: string): Logger {
  return createLogger({ level: logLevel, format: logFormat, node: `terminate ${role}` })
}

function sayListening(name: string, address: string, { json }: TerminateOptions): void {
  console.log(json ? JSON.stringify({ name, address }) : `${name} listens on ${address}`)
}
