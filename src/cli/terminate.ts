// `tlscached terminate`: the reference terminator. The first process starts the others, answers for all of
// them, and serves no client itself.

import cluster from 'node:cluster'
import { Command } from 'commander'
import { formatAddress } from '../base/address.ts'
import { systemClock } from '../base/clock.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { type Logger, silentLogger } from '../base/logger.ts'
import { readVersion } from '../base/version.ts'
import { TerminatorMetrics } from '../terminator/metrics.ts'
import { MetricsServer } from '../terminator/metrics-server.ts'
import { warnWhenExpired } from '../terminator/revocation.ts'
import {
  createTerminatorProcess,
  type TerminatorConfig,
  type TerminatorContext,
  type TerminatorProcess,
} from '../terminator/terminator-process.ts'
import { Worker, type WorkerChannel } from '../terminator/worker.ts'
import { type WorkerHandle, WorkerPool } from '../terminator/worker-pool.ts'
import { Service } from './service.ts'
import { type Stop, stopOnSignal } from './stop-on-signal.ts'
import {
  addTerminateOptions,
  readTerminatorConfig,
  type TerminateOptions,
} from './terminate-options.ts'

const RELOAD_FAILED = 'reading files again failed, everything stays as it was'

export function terminateCommand(): Command {
  const command = new Command('terminate').description(
    'Terminate TLS in several processes that share the sessions of a node, and pass plain TCP on.',
  )
  return addTerminateOptions(command).action(terminate)
}

async function terminate(options: TerminateOptions): Promise<void> {
  const service = new Service({
    log: {
      level: options.logLevel,
      format: options.logFormat,
      node: cluster.isPrimary ? 'terminate primary' : 'terminate process',
    },
    watchdogMs: options.watchdog,
    isJson: options.json ?? false,
  })
  await service.run(async () => {
    if (cluster.isPrimary) return runPrimary(service, options)
    runWorker(service, options)
    return () => ''
  })
}

async function runPrimary(service: Service, options: TerminateOptions): Promise<() => string> {
  process.title = 'tlscached terminate primary'
  // Each process takes its connections from the kernel. Where this one hands them out, a connection that
  // comes just as the others stop is held by nobody, open, until this one ends, too.
  cluster.schedulingPolicy = cluster.SCHED_NONE
  const { logger, droppedLogLines } = service
  let config = checkOptions(options)
  const { processes, drain: drainMs } = options
  const pool = new WorkerPool({ processes, fork, drainMs, logger })
  const source = new TerminatorMetrics(readVersion(), () => pool.stats(), droppedLogLines)
  const metrics = new MetricsServer(source, logger)
  const running = {
    stop: async () => {
      service.manager.stopping()
      const isClean = await pool.stop()
      await metrics.stop()
      if (!isClean) throw new TlscachedError('ERR_DEADLINE', 'connections were cut off')
    },
    kill: () => pool.kill(),
  }
  // The pool waits no longer than its processes may drain.
  const stop = stopOnSignal(running, logger, Number.POSITIVE_INFINITY)
  if (process.send !== undefined) stopWithParent(stop)
  const reload = () => {
    try {
      config = service.longWork(() => checkOptions(options))
      pool.reload()
    } catch (error) {
      logger.error({ reason: messageOf(error) }, RELOAD_FAILED)
    }
  }
  process.on('SIGHUP', () => void service.manager.reloading(reload))
  const metricsAddress = options.metrics && (await metrics.start(options.metrics))
  try {
    for (const address of await pool.start()) service.sayListening('tls', address)
  } catch (error) {
    await metrics.stop()
    throw error
  }
  // It ends with the process, which a signal ends.
  warnWhenExpired(() => config.revocations, systemClock, logger)
  if (metricsAddress) service.sayListening('metrics', formatAddress(metricsAddress))
  return () => `terminating TLS in ${processes} processes`
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

/** Throws ERR_USAGE for whatever is wrong with files and options. Opens nothing. */
function checkOptions(options: TerminateOptions): TerminatorConfig {
  const config = readTerminatorConfig(options)
  config.revocations?.checkTimes(systemClock.wallMs())
  createProcess(config, { clock: systemClock, logger: silentLogger })
  return config
}

function runWorker(service: Service, options: TerminateOptions): void {
  const channel: WorkerChannel = {
    send: (message, sent) => process.send?.(message, undefined, {}, sent),
    onMessage: (listener) => process.on('message', listener),
    exit: (code) => process.exit(code),
  }
  const create = (number: number) => {
    process.title = `tlscached terminate ${number}`
    const logger = service.loggerNamed(`terminate process ${number}`)
    const context = { clock: systemClock, logger, droppedLogLines: service.droppedLogLines }
    // Revocation lists may have hundreds of thousands of entries, and each virtual host reads them.
    const running = service.longWork(() => createProcess(readTerminatorConfig(options), context))
    return {
      start: () => running.start(),
      stop: (drainMs: number) => running.stop(drainMs),
      readStats: () => running.readStats(),
      reload: () => service.longWork(() => reload(running, options, logger)),
    }
  }
  const worker = new Worker(channel, create, options.drain)
  // The primary may be told alone, or all processes at once by a terminal or a service manager.
  process.on('SIGTERM', () => void worker.drain())
  process.on('SIGINT', () => void worker.drain())
  process.on('SIGHUP', () => {})
}

/** The first process has checked the files, but they may have changed since. */
function reload(running: TerminatorProcess, options: TerminateOptions, logger: Logger): void {
  try {
    running.reload(readTerminatorConfig(options))
    logger.info({}, 'certificates, keys and revocation lists were read again')
  } catch (error) {
    logger.error({ reason: messageOf(error) }, RELOAD_FAILED)
  }
}

function createProcess(config: TerminatorConfig, context: TerminatorContext): TerminatorProcess {
  try {
    return createTerminatorProcess(config, context)
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
