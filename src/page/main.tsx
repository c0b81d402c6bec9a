// The page: what it shows of the cluster, from the top to the bottom, and how it begins.

import { render } from 'preact'
import { Caches } from './caches.tsx'
import { problemsOf, type SharedProblem } from './cluster-state.ts'
import { Connection, type View } from './connection.ts'
import { Matrix } from './matrix.tsx'
import { Problems, verdictOf } from './problems.tsx'
import { Rates } from './rates.tsx'
import { TicketKeys } from './tickets.tsx'
import { duration } from './words.ts'

const CONNECTIONS = {
  connecting: 'Connecting',
  live: 'Live',
  polling: 'Every 5 s',
  lost: 'No answer',
} as const

function Page({ view }: { readonly view: View }) {
  const { document, connection } = view
  if (document === undefined) {
    return (
      <main class="empty">
        <h1>tlscached</h1>
        <p role="status">
          {connection === 'lost' ? 'This node does not answer. Trying again.' : 'Asking this node.'}
        </p>
      </main>
    )
  }
  const problems = problemsOf(document)
  return (
    <>
      <Header view={view} node={document.node} />
      <main class={connection === 'lost' ? 'stale' : ''}>
        <Problems problems={problems} document={document} lostMs={lostMsOf(view)} />
        <Matrix document={document} />
        <Rates document={document} heardWallMs={performance.timeOrigin + view.heardMs} />
        <Caches document={document} />
        <TicketKeys document={document} />
      </main>
      <footer>
        <p>
          Only this node is asked, and nothing is changed by looking. The same as JSON:{' '}
          <a href="v1/cluster">/v1/cluster</a>. Help: <a href="page/help.html">troubleshooting</a>.
        </p>
      </footer>
    </>
  )
}

function Header({ view, node }: { readonly view: View; readonly node: string }) {
  const { connection, heardMs } = view
  return (
    <header>
      <h1>
        <span class="product">tlscached</span> {node}
      </h1>
      <p class={`connection ${connection}`}>
        <span class="dot" aria-hidden="true" />
        {CONNECTIONS[connection]}
        <span class="age">{duration(performance.now() - heardMs)} ago</span>
      </p>
    </header>
  )
}

/** Time since this node was heard last; undefined while it answers. */
function lostMsOf({ connection, heardMs }: View): number | undefined {
  return connection === 'lost' ? performance.now() - heardMs : undefined
}

/** The title of the tab says how it is, so that it is seen among other tabs. */
function titleOf({ document, connection }: View, problems: readonly SharedProblem[]): string {
  if (document === undefined) return 'tlscached'
  if (connection === 'lost') return `no answer · ${document.node}`
  const { word } = verdictOf(problems)
  return `${word} · ${document.node} · tlscached`
}

const root = document.getElementById('page')
if (root !== null) {
  const show = (view: View) => {
    render(<Page view={view} />, root)
    const problems = view.document === undefined ? [] : problemsOf(view.document)
    const title = titleOf(view, problems)
    if (document.title !== title) document.title = title
  }
  new Connection(show).start()
}
