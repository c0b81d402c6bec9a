// Ends the process even when one of its threads hangs in a system call.
//
// `process.exit` joins all worker threads, and one that hangs in write(2) never ends (seen on Node.js 20, 22, 24, 26).
// So a process that ends well ends by SIGTERM, which service managers and containers take for a clean end. Elsewhere,
// and in the first process of a container, where such a signal has no effect, WASI's proc_exit calls exit(3): no thread
// is joined and the exit code is kept, but exit(3) takes away what V8's own threads may still use, and one run of the
// test suite in two ended with SIGSEGV in its place.

import { runInThisContext } from 'node:vm'

/** Longest wait for the signal to end this process. */
const SIGNAL_MS = 100

/** A WebAssembly module with an empty memory and an empty `_start`, which is all that WASI requires. */
const EMPTY_PROGRAM =
  '0061736d0100000001040160000003020100050301000107130206' +
  '6d656d6f72790200065f737461727400000a040102000b'

/**
 * Source of a function that takes the exit code and ends the process, in JavaScript because a worker thread loads no
 * TypeScript on Node.js 20. It loads node:wasi when it is called: Node.js prints its warning about an experimental
 * module one turn of the event loop later, and there is no later turn.
 */
export const EXIT_AT_ONCE_SOURCE = `
((code) => {
  const { WASI } = process.getBuiltinModule('node:wasi')
  const wasi = new WASI({ version: 'preview1', returnOnExit: false })
  const program = new WebAssembly.Module(Buffer.from('${EMPTY_PROGRAM}', 'hex'))
  wasi.start(new WebAssembly.Instance(program))
  wasi.wasiImport.proc_exit(code)
})`

/** Ends the process: by SIGTERM for code 0, else with this code. Exit listeners are not called, no thread is waited for. */
export function exitAtOnce(code: number): void {
  if (code === 0) {
    // Without a listener the signal has its default action.
    process.removeAllListeners('SIGTERM')
    process.kill(process.pid, 'SIGTERM')
    Atomics.wait(
      new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
      0,
      0,
      SIGNAL_MS,
    )
  }
  runInThisContext(EXIT_AT_ONCE_SOURCE)(code)
}
