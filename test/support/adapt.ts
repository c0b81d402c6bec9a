// Programs and configurations that we show to readers, made to run here.

import assert from 'node:assert/strict'

export type Replacement = readonly [from: string, to: string]

/** Replaces all occurrences of what a reader would replace. Fails when the text lacks one of them. */
export function adapt(text: string, replacements: readonly Replacement[]): string {
  return replacements.reduce((adapted, [from, to]) => {
    assert.ok(adapted.includes(from), `the example has no ${from}`)
    return adapted.replaceAll(from, to)
  }, text)
}
