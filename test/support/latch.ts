// Waiting for something that will happen, instead of for a time to pass.

const FAILSAFE_MS = 20_000
/** Bounds of the pause between two looks. */
const MIN_PAUSE_MS = 2
const MAX_PAUSE_MS = 50

/**
 * Resolves when `isTrue` holds; rejects with `what` after 20 s. The pause between two looks is a tenth of the time that
 * has passed: a look often asks several processes, and looks without a pause would slow down what they wait for.
 */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  timeoutMs = FAILSAFE_MS,
): Promise<void> {
  const startMs = performance.now()
  while (!(await isTrue())) {
    const passedMs = performance.now() - startMs
    if (passedMs > timeoutMs) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`)
    // Real programs announce nothing that could be awaited.
    const pauseMs = Math.min(Math.max(passedMs / 10, MIN_PAUSE_MS), MAX_PAUSE_MS)
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Resolves when `arrive` was called `count` times. */
export class Latch {
  readonly done: Promise<void>
  #missing: number
  #resolve: () => void = () => {}

  constructor(count = 1) {
    this.#missing = count
    this.done = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  arrive(): void {
    this.#missing -= 1
    if (this.#missing === 0) this.#resolve()
  }
}
