// The opcodes of memcached's binary protocol, and what a frame of each must consist of.

import type { Arithmetic, WriteMode } from './entries.ts'

export type BinaryKind =
  | { readonly kind: 'get'; readonly withKey: boolean; readonly withTouch: boolean }
  | { readonly kind: 'write'; readonly mode: WriteMode }
  | { readonly kind: 'arithmetic'; readonly direction: Arithmetic['direction'] }
  | {
      readonly kind:
        | 'delete'
        | 'touch'
        | 'flush'
        | 'stat'
        | 'noop'
        | 'version'
        | 'verbosity'
        | 'quit'
    }

export type BinaryCommand = BinaryKind & {
  /** Whether success is not answered, or, for a get, a miss. */
  readonly isQuiet: boolean
  /** Lengths that the extras may have. */
  readonly extrasBytes: readonly number[]
  readonly key: 'required' | 'optional' | 'none'
  readonly hasValue: boolean
}

function get(withKey: boolean, isQuiet: boolean): BinaryCommand {
  const kind = { kind: 'get', withKey, withTouch: false } as const
  return { ...kind, isQuiet, extrasBytes: [0], key: 'required', hasValue: false }
}

function getAndTouch(withKey: boolean, isQuiet: boolean): BinaryCommand {
  const kind = { kind: 'get', withKey, withTouch: true } as const
  return { ...kind, isQuiet, extrasBytes: [4], key: 'required', hasValue: false }
}

/** The extras of set, add and replace are u32 flags and u32 expiry; append and prepend have none. */
function write(mode: WriteMode, isQuiet: boolean): BinaryCommand {
  const extrasBytes = mode === 'append' || mode === 'prepend' ? [0] : [8]
  return { kind: 'write', mode, isQuiet, extrasBytes, key: 'required', hasValue: true }
}

/** The extras are u64 delta, u64 initial value and u32 expiry. */
function arithmetic(direction: Arithmetic['direction'], isQuiet: boolean): BinaryCommand {
  const kind = { kind: 'arithmetic', direction } as const
  return { ...kind, isQuiet, extrasBytes: [20], key: 'required', hasValue: false }
}

function remove(isQuiet: boolean): BinaryCommand {
  return { kind: 'delete', isQuiet, extrasBytes: [0], key: 'required', hasValue: false }
}

function bare(
  kind: 'noop' | 'version' | 'quit' | 'flush' | 'verbosity',
  isQuiet = false,
  extrasBytes: readonly number[] = [0],
): BinaryCommand {
  return { kind, isQuiet, extrasBytes, key: 'none', hasValue: false }
}

export const BINARY_COMMANDS: ReadonlyMap<number, BinaryCommand> = new Map([
  [0x00, get(false, false)],
  [0x01, write('set', false)],
  [0x02, write('add', false)],
  [0x03, write('replace', false)],
  [0x04, remove(false)],
  [0x05, arithmetic('increment', false)],
  [0x06, arithmetic('decrement', false)],
  [0x07, bare('quit')],
  [0x08, bare('flush', false, [0, 4])],
  [0x09, get(false, true)],
  [0x0a, bare('noop')],
  [0x0b, bare('version')],
  [0x0c, get(true, false)],
  [0x0d, get(true, true)],
  [0x0e, write('append', false)],
  [0x0f, write('prepend', false)],
  [0x10, { kind: 'stat', isQuiet: false, extrasBytes: [0], key: 'optional', hasValue: false }],
  [0x11, write('set', true)],
  [0x12, write('add', true)],
  [0x13, write('replace', true)],
  [0x14, remove(true)],
  [0x15, arithmetic('increment', true)],
  [0x16, arithmetic('decrement', true)],
  [0x17, bare('quit', true)],
  [0x18, bare('flush', true, [0, 4])],
  [0x19, write('append', true)],
  [0x1a, write('prepend', true)],
  [0x1b, bare('verbosity', false, [4])],
  [0x1c, { kind: 'touch', isQuiet: false, extrasBytes: [4], key: 'required', hasValue: false }],
  [0x1d, getAndTouch(false, false)],
  [0x1e, getAndTouch(false, true)],
  [0x23, getAndTouch(true, false)],
  [0x24, getAndTouch(true, true)],
])
