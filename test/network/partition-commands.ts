// What the partition test asks of its hosts, and what they answer.

export interface PartitionSetup {
  readonly name: string
  readonly listen: string
  readonly peers: readonly string[]
  readonly keys: readonly string[]
  readonly digestIntervalMs: number
}

export type PartitionCommand =
  /** Sessions are told apart by their labels. */
  | { readonly do: 'change'; readonly puts: readonly string[]; readonly removes: readonly string[] }
  | { readonly do: 'held'; readonly labels: readonly string[] }
  | { readonly do: 'digest' }
  | { readonly do: 'entries' }
  | { readonly do: 'status' }

export interface HeldAnswer {
  /** The labels whose sessions are here, in the order asked. */
  readonly held: readonly string[]
}

export interface DigestAnswer {
  /** Hash of everything that the host holds; equal on hosts that hold the same. */
  readonly digest: string
}

export interface EntriesAnswer {
  /** Each session and removal with its version, as text, sorted. */
  readonly entries: readonly string[]
}

export interface PartitionStatus {
  /** Peers heard within the last ten seconds. */
  readonly peersUp: number
  /** Begun by this host, and ended well. */
  readonly comparisons: number
}
