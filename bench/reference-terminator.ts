// Handshakes of the reference terminator beside stunnel, hitch and Node's own TLS server, all of them in one run.

import { setTimeout as delay } from 'node:timers/promises'
import { CertificateFolder } from '../test/support/certificates.ts'
import { freePorts } from '../test/support/free-ports.ts'
import {
  CELLS,
  compileHandshakeLoad,
  type HandshakeKind,
  startAnswerBackend,
  type Target,
  titleOf,
  whyWithoutHandshakeLoad,
} from './handshake-load.ts'
import type { Server } from './servers.ts'
import type { Row } from './table.ts'
import {
  hitch,
  nodeTls,
  type Rivalry,
  referenceTerminator,
  type Surroundings,
  stunnel,
} from './terminator-servers.ts'
import { allInTurn, type Rival } from './versus.ts'

const OTHERS: readonly Rivalry[] = [stunnel, hitch, nodeTls]
/** Node compiles what runs often. */
const WARM_UP_SEC = 3
/** The terminator looks at its backend and connects to its node. */
const SETTLE_MS = 500

export async function benchReferenceTerminator(isQuick: boolean): Promise<Row[]> {
  const missing = whyWithoutHandshakeLoad()
  if (missing !== undefined) {
    console.error(`handshakes of terminators: not measured: ${missing}`)
    return []
  }
  const certificates = new CertificateFolder()
  const started: Server[] = []
  try {
    const [backendPort = 0] = await freePorts(1)
    const certificate = certificates.make({
      commonName: 'localhost',
      alternatives: ['DNS:localhost'],
    })
    const backend = await startAnswerBackend(backendPort)
    started.push(backend)
    const surroundings = { folder: certificates.path, certificate, backendPort, started }
    const runLoad = await compileHandshakeLoad([backend])
    const rivalries = [referenceTerminator, ...OTHERS.filter(isThere)]
    const entering = rivalries.map((rivalry) => enter(rivalry, surroundings))
    // Until each one has started or failed: who starts later would not be ended.
    await Promise.allSettled(entering)
    const entrants = await Promise.all(entering)
    await delay(SETTLE_MS)
    const rows: Row[] = []
    for (const cell of CELLS) {
      if (!isQuick) {
        for (const { targetFor } of entrants) await runLoad(targetFor(cell.kind), cell, WARM_UP_SEC)
      }
      const rival = ({ name, resumes, targetFor }: Entrant): Rival => ({
        name: cell.kind === 'full' || resumes === undefined ? name : `${name} (${resumes})`,
        run: () => runLoad(targetFor(cell.kind), cell, isQuick ? 0.3 : 2),
      })
      rows.push(
        ...(await allInTurn(titleOf(cell), entrants.map(rival), { rounds: isQuick ? 1 : 5 })),
      )
    }
    return rows
  } finally {
    await Promise.all(started.map((server) => server.stop()))
    certificates.remove()
  }
}

interface Entrant extends Rivalry {
  readonly targetFor: (kind: HandshakeKind) => Target
}

async function enter(rivalry: Rivalry, surroundings: Surroundings): Promise<Entrant> {
  return { ...rivalry, targetFor: await rivalry.start(surroundings) }
}

function isThere({ name, skip }: Rivalry): boolean {
  if (skip !== false) console.error(`${name}: not measured: ${skip}`)
  return skip === false
}
