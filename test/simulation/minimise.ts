// Makes a plan that fails shorter: leaves actions out as long as it still fails in the same way.

import type { Action, Plan } from './plan.ts'
import { type Outcome, run } from './run.ts'

export interface Minimised {
  readonly plan: Plan
  readonly outcome: Outcome
  /** Runs that it took. */
  readonly tries: number
}

/** The rule that was broken, without names and numbers: a shorter plan may break it at another node. */
export function kindOf(violation: string): string {
  return violation.replace(/\b[0-9a-f]{8,}\b/g, '').replace(/[0-9.]+(-[0-9]+)*/g, '')
}

/**
 * Delta debugging (Zeller and Hildebrandt 2002) within `budgetMs` of real time. It must be called within `inMacrotask`,
 * with a plan that fails.
 */
export function minimise(failing: Plan, outcome: Outcome, budgetMs: number): Minimised {
  const wanted = kindOf(outcome.violation ?? '')
  const endMs = performance.now() + budgetMs
  let best: Minimised = { plan: failing, outcome, tries: 0 }
  let tries = 0
  const attempt = (plan: Plan): boolean => {
    tries += 1
    const tried = run(plan)
    if (tried.violation === undefined || kindOf(tried.violation) !== wanted) return false
    best = { plan, outcome: tried, tries }
    return true
  }
  let parts = 2
  while (parts <= 2 * best.plan.actions.length && performance.now() < endMs) {
    const { actions } = best.plan
    const length = Math.ceil(actions.length / parts)
    let isShorter = false
    for (let from = 0; from < actions.length && performance.now() < endMs; from += length) {
      const rest: Action[] = [...actions.slice(0, from), ...actions.slice(from + length)]
      if (!attempt({ ...best.plan, actions: rest })) continue
      isShorter = true
      break
    }
    if (isShorter) parts = Math.max(2, parts - 1)
    else if (length <= 1) break
    else parts = Math.min(actions.length, 2 * parts)
  }
  // With the lines, for a person.
  return { plan: best.plan, outcome: run(best.plan, true), tries }
}
