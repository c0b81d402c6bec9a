// The problems of the cluster, in the first place: how bad it is, what is wrong, and what to do.

import type { ClusterDocument, SharedProblem } from './cluster-state.ts'
import { counted, duration, headline } from './words.ts'

const DOCUMENTATION = 'deploy/troubleshooting.md'

export interface Verdict {
  readonly level: 'good' | 'warning' | 'error'
  readonly word: string
}

export function verdictOf(problems: readonly SharedProblem[]): Verdict {
  const errors = problems.filter(({ severity }) => severity === 'error').length
  const warnings = problems.length - errors
  if (errors > 0) {
    const more = warnings === 0 ? '' : `, ${counted(warnings, 'warning')}`
    return { level: 'error', word: `${counted(errors, 'problem')}${more}` }
  }
  if (warnings > 0) return { level: 'warning', word: counted(warnings, 'warning') }
  return { level: 'good', word: 'All well' }
}

interface ProblemsProps {
  readonly problems: readonly SharedProblem[]
  readonly document: ClusterDocument
  /** Time since this node was heard last; undefined while it answers. */
  readonly lostMs: number | undefined
}

export function Problems({ problems, document, lostMs }: ProblemsProps) {
  const verdict: Verdict =
    lostMs === undefined ? verdictOf(problems) : { level: 'error', word: 'No answer' }
  return (
    <section class={`problems ${verdict.level}`} aria-labelledby="problems">
      <div role="status">
        <h2 id="problems">
          <Mark level={verdict.level} />
          {verdict.word}
        </h2>
        <p class="sentence">{sentenceOf(document, lostMs)}</p>
      </div>
      {problems.length > 0 && (
        <ol>
          {problems.map((problem) => (
            <Item key={`${problem.code} ${problem.subject} ${problem.remedy}`} problem={problem} />
          ))}
        </ol>
      )}
    </section>
  )
}

function sentenceOf({ node, nodes }: ClusterDocument, lostMs: number | undefined): string {
  if (lostMs !== undefined) {
    return `${node} has not answered for ${duration(lostMs)}. What is below is what it said before.`
  }
  const self = nodes.find(({ state }) => state === 'self')
  const reason = self?.summary?.reason ?? ''
  return nodes.length > 1
    ? `${counted(nodes.length, 'node')}. ${node}: ${reason}.`
    : `${node}: ${reason}.`
}

function Item({ problem }: { readonly problem: SharedProblem }) {
  const { severity, code, subject, remedy, link, said } = problem
  const isOfPeer = code.startsWith('peer_')
  const isSaidAlike = new Set(said.map(({ sentence }) => sentence)).size === 1
  return (
    <li class={severity}>
      <h3>
        <Mark level={severity} />
        {headline(code)}
        {subject !== '' && `: ${subject}`}
        <span class="said">
          {isOfPeer ? 'said by' : 'on'} {said.map(({ node }) => node).join(', ')}
        </span>
      </h3>
      {isSaidAlike || isOfPeer ? (
        <p>{asSentence(said[0]?.sentence ?? '')}</p>
      ) : (
        <ul>
          {said.map(({ node, sentence }) => (
            <li key={node}>
              {node}: {sentence}.
            </li>
          ))}
        </ul>
      )}
      <p class="remedy">
        <strong>To do:</strong> {remedy}.{' '}
        <a href={hrefOf(link)} aria-label={`More about: ${headline(code)}`}>
          More
        </a>
      </p>
    </li>
  )
}

/** Begins with a capital, unless the first word is a name. */
function asSentence(text: string): string {
  const isName = !/^[a-z]+ /.test(text)
  return `${isName ? text : text.charAt(0).toUpperCase() + text.slice(1)}.`
}

/** A shape besides the colour, and a word for those who see neither. */
export function Mark({ level }: { readonly level: Verdict['level'] }) {
  const signs = { good: '✓', warning: '!', error: '✕' }
  const words = { good: 'Good: ', warning: 'Warning: ', error: 'Error: ' }
  return (
    <>
      <span class={`mark ${level}`} aria-hidden="true">
        {signs[level]}
      </span>
      <span class="hidden">{words[level]}</span>
    </>
  )
}

/** Where this node serves the section of the documentation. */
function hrefOf(link: string): string {
  return link.startsWith(DOCUMENTATION)
    ? `page/help.html${link.slice(DOCUMENTATION.length)}`
    : 'page/help.html'
}
