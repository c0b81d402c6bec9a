// Waiting for something that will happen, instead of for a time to pass.

const FAILSAFE_MS = 20_000

/** Resolves when `isTrue` holds, looking again every few milliseconds; rejects with `what` after 20 s. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  timeoutMs = FAILSAFE_MS,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  while (!(await isTrue())) {
    if (performance.now() > deadlineMs)
      throw new Error(`waited ${timeoutMs} ms in vain until ${what}`)
    // Real programs announce nothing we could await: a short pause between two looks.
    await new Promise((resolve) => setTimeout(resolve, 5))
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
