// `tlscached terminate`: the reference terminator. The first process, the primary, starts the workers and serves the
// metrics of all of them, but no TLS clients.

import cluster from 'node:cluster'
import { Command } from 'commander'
import { formatAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { readVersion } from '../base/version.ts'
import { systemClock } from '../base/world.ts'
import { COMMAND_PREFIXES, isStandalone } from '../settings/schema.ts'
import { MetricsServer, TerminatorMetrics } from '../terminator/metrics.ts'
import { warnWhenExpired } from '../terminator/revocation.ts'
import {
  checkTerminatorFiles,
  fixedPartsOf,
  processesOf,
  readTerminatorFiles,
  readTerminatorSettings,
  type TerminatorSettings,
  terminatorSettings,
  type WrittenSettings,
} from '../terminator/settings.ts'
import { createTerminatorProcess, type TerminatorConfig } from '../terminator/terminator.ts'
import { type Settings, Worker, type WorkerChannel } from '../terminator/worker.ts'
import { type WorkerHandle, WorkerPool } from '../terminator/worker-pool.ts'
import { Service } from './service.ts'
import { addSettingOptions, configPath, readFlags } from './setting-options.ts'
import { type Stop, stopOnSignal } from './stop-on-signal.ts'

const FLAGS = terminatorSettings.filter(isStandalone)
const RELOAD_FAILED = 'reading files again failed, everything stays as it was'

export function terminateCommand(): Command {
  const command = new Command('terminate')
    .description(
      'Terminate TLS in several processes that share the sessions of a node, and pass plain TCP on. ' +
        'SIGTERM and SIGINT stop it, SIGHUP reads certificates, keys and revocation lists again.',
    )
    .option('--json', 'print where it listens as one JSON object a line')
  return addSettingOptions(command, FLAGS, COMMAND_PREFIXES.terminate, true).action(terminate)
}

async function terminate(
  file: string | undefined,
  options: { readonly json?: boolean },
  command: Command,
): Promise<void> {
  // A worker has the arguments of the primary, but takes its settings from the primary.
  if (cluster.isWorker) {
    runWorker()
    return
  }
  const read = () =>
    readTerminatorSettings({
      file: configPath(file, command, COMMAND_PREFIXES.terminate),
      environment: process.env,
      flags: readFlags(command, FLAGS),
    })
  const written = read()
  const config = checkTerminatorFiles(written)
  const service = createService('terminate primary', written.settings, options.json)
  await service.run(() => runPrimary(service, written, config, read))
}

function createService(name: string, settings: TerminatorSettings, isJson = false): Service {
  const log = { ...settings.log, node: name }
  return new Service({ log, watchdogMs: settings.watchdog, isJson })
}

async function runPrimary(
  service: Service,
  { settings, tree }: WrittenSettings,
  config: TerminatorConfig,
  read: () => WrittenSettings,
): Promise<() => string> {
  process.title = 'tlscached terminate primary'
  // Each worker accepts its connections from the kernel. If the primary handed them out, one that arrives just as the
  // workers stop would stay open, without anybody to serve it, until the primary ends.
  cluster.schedulingPolicy = cluster.SCHED_NONE
  const { logger, droppedLogLines } = service
  const processes = processesOf(settings)
  const pool = new WorkerPool({
    processes,
    fork,
    settings: tree.root,
    drainMs: settings.drain,
    logger,
  })
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
  let { revocations } = config
  const reload = () => {
    try {
      const written = read()
      revocations = service.longWork(() => checkTerminatorFiles(written)).revocations
      pool.reload(written.tree.root)
      const needsRestart = fixedPartsOf(written.settings) !== fixedPartsOf(settings)
      logger.info({ needsRestart }, 'the settings were read again')
    } catch (error) {
      logger.error({ reason: messageOf(error) }, RELOAD_FAILED)
    }
  }
  process.on('SIGHUP', () => void service.manager.reloading(reload))
  const metricsAddress = settings.metrics && (await metrics.start(settings.metrics))
  try {
    for (const address of await pool.start()) service.sayListening('tls', address)
  } catch (error) {
    await metrics.stop()
    throw error
  }
  // The timer runs until the process exits on a signal.
  warnWhenExpired(() => revocations, systemClock, logger)
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

function runWorker(): void {
  const channel: WorkerChannel = {
    send: (message, sent) => process.send?.(message, undefined, {}, sent),
    onMessage: (listener) => process.on('message', listener),
    exit: (code) => process.exit(code),
  }
  const worker = new Worker(channel, createWorkerProcess)
  // A signal goes to the primary alone or, from a terminal or a service manager, to all processes at once.
  process.on('SIGTERM', () => void worker.drain())
  process.on('SIGINT', () => void worker.drain())
  process.on('SIGHUP', () => {})
}

function createWorkerProcess(number: number, settings: Settings) {
  process.title = `tlscached terminate ${number}`
  const written = readWritten(settings)
  const service = createService(`terminate process ${number}`, written.settings)
  const { logger, droppedLogLines } = service
  const context = { clock: systemClock, logger, droppedLogLines }
  const running = createTerminatorProcess(readTerminatorFiles(written), context)
  return {
    start: async () => {
      const addresses = await running.start()
      await service.run(async () => () => '')
      return addresses
    },
    stop: () => running.stop(written.settings.drain),
    readStats: () => running.readStats(),
    // Revocation lists may have hundreds of thousands of entries, and each virtual host reads them. The primary has
    // checked the files, but they may have changed since.
    reload: (changed: Settings) => {
      try {
        service.longWork(() => running.reload(readTerminatorFiles(readWritten(changed))))
        logger.info({}, 'certificates, keys and revocation lists were read again')
      } catch (error) {
        logger.error({ reason: messageOf(error) }, RELOAD_FAILED)
      }
    },
  }
}

/** Reads settings that came from the primary. */
function readWritten(root: Settings): WrittenSettings {
  return readTerminatorSettings({ converted: { root, places: [], problems: [] } })
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
