// Programs and configurations that we show to readers, made to run here.

import assert from 'node:assert/strict'

export type Replacement = readonly [from: string, to: string]

/** Replaces what a reader would replace, everywhere; each of it must be there. */
export function adapt(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((adapted, [from, to]) => {
    assert.ok(adapted.includes(from), `the example has no ${from}`)
    return adapted.replaceAll(from, to)
  }, text)
}
