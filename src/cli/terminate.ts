// `tlscached terminate`: the reference terminator. The first process, the primary, starts the workers and serves the
// metrics of all of them, but no TLS clients.

import cluster from 'node:cluster'
import { Command } from 'commander'
import { formatAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { readVersion } from '../base/version.ts'
import { type Logger, silentLogger, systemClock } from '../base/world.ts'
import { MetricsServer, TerminatorMetrics } from '../terminator/metrics.ts'
import { warnWhenExpired } from '../terminator/revocation.ts'
import {
  createTerminatorProcess,
  type TerminatorConfig,
  type TerminatorContext,
  type TerminatorProcess,
} from '../terminator/terminator.ts'
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
  // Each worker accepts its connections from the kernel. If the primary handed them out, one that arrives just as the
  // workers stop would stay open, without anybody to serve it, until the primary ends.
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
  // There is no timeout here, because the pool itself kills workers that drain for too long.
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
  // The timer runs until the process exits on a signal.
  warnWhenExpired(() => config.revocations, systemClock, logger)
  if (metricsAddress) service.sayListening('metrics', formatAddress(metricsAddress))
  return () => `terminating TLS in ${processes} processes`
}

/**
 * Stops when the parent process ends: a node that started this process with a channel is gone then, and nothing else
 * needs it.
 */
function stopWithParent(stop: Stop): void {
  const end = () => stop('the end of the parent process', 0)
  // The parent may have ended while this process started.
  if (!process.connected) end()
  process.once('disconnect', end)
  // The channel does not keep this process running.
  process.channel?.unref()
}

/** Checks files and options without opening anything. Throws ERR_USAGE for whatever is wrong with them. */
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
  // A signal goes to the primary alone or, from a terminal or a service manager, to all processes at once.
  process.on('SIGTERM', () => void worker.drain())
  process.on('SIGINT', () => void worker.drain())
  process.on('SIGHUP', () => {})
}

/** Reads the files of a worker again. The primary has checked them, but they may have changed since. */
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

/** Returns the message with an option of connectHooks written as the flag that it is here. */
function toFlag(message: string): string {
  return message.replace(/^connectHooks: /, '--')
}

function fork(): WorkerHandle {
  const worker = cluster.fork()
  // Sending to a worker that is just exiting fails; the event 'exit' reports its end.
  worker.on('error', () => {})
  return {
    send: (message) => void (worker.isConnected() && worker.send(message)),
    kill: () => worker.process.kill('SIGKILL'),
    onMessage: (listener) => worker.on('message', listener),
    onExit: (listener) => worker.on('exit', (code, signal) => listener(signal || `code ${code}`)),
  }
}
