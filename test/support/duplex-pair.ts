// Two ends of a byte stream in memory, each holding the other back as a socket would.

import { Duplex } from 'node:stream'

class End extends Duplex {
  other: End | undefined
  #resume: (() => void) | undefined

  override _read(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  override _write(chunk: Buffer, _encoding: string, taken: () => void): void {
    const { other } = this
    // A copy, as the kernel makes one: the writer may fill its bytes with zeros as soon as they are taken.
    if (other === undefined || other.destroyed || other.push(Buffer.from(chunk))) taken()
    else other.#resume = taken
  }

  override _final(done: () => void): void {
    this.other?.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.other?.destroyed === false) setImmediate(() => this.other?.destroy())
    done(error)
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [one, two] = [new End(), new End()]
  one.other = two
  two.other = one
  return [one, two]
}
