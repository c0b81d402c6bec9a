// Memory for sessions outside the JavaScript heap: blocks of a few sizes, carved from large pages.
//
// The blocks of one size lie densely: whoever frees one gets the last one moved into the hole, and a page
// that becomes empty is the next one taken, for whatever size. So nothing fragments, and the pages never
// exceed what the most blocks in use at a time filled, plus one begun page a size: that is the hard bound.
// Callers name each block by a slot number of their own, which stays the same when the block moves. A block
// that becomes free is zeroed.
//
// V8 marks its whole heap each time that 64 MiB of buffers were made: a node that fills spent a tenth of its
// time on that (measured). Shared memory it does not count, so the pages of a large arena are shared, though
// nobody shares them. What is not counted it frees late: so an arena keeps what it once took, and its first
// pages count, for the sake of processes in which nodes come and go.

/** One page, seen as bytes, as u32, as u64 and as f64; all blocks begin, and end, at a multiple of 8. */
export interface Page {
  readonly bytes: Buffer
  readonly words: Uint32Array
  readonly longs: BigUint64Array
  readonly doubles: Float64Array
}

/** Where a block lies: it begins at byte `start` of the page; the caller's bytes come after its header. */
export interface BlockCursor {
  page: Page
  start: number
}

export const NO_PAGE: Page = {
  bytes: Buffer.alloc(0),
  words: new Uint32Array(0),
  longs: new BigUint64Array(0),
  doubles: new Float64Array(0),
}

/** Bytes at the start of each block that the arena keeps for itself: u32 slot number of the owner. */
export const BLOCK_HEADER_BYTES = 4

const PAGE_BYTES = 4_194_304
/** Largest page of an arena with a budget: to free a whole one for another size of blocks takes a few milliseconds. */
const MAX_BUDGET_PAGE_BYTES = 1_048_576
/** Pages of a budget for each size of blocks, of which one is begun only. */
const PAGES_PER_SIZE = 4
/** Bytes of pages that V8 counts: as much as makes it look for garbage once. */
const COUNTED_BYTES = 16 * PAGE_BYTES
/**
 * Where the blocks of a page begin. What glibc gives for a page begins 16 bytes behind a multiple of 4096: so blocks of
 * multiples of 64 bytes begin where a line of the processor's cache does, and a session of 130 bytes lies in three, not
 * four.
 */
const FIRST_BLOCK_BYTES = 48
const SMALLEST_BLOCK_BYTES = 64
/** Each size is this much larger than the one before: at most a sixth of a block is unused. */
const SIZE_RATIO = 1.2
const SIZE_ALIGN_BYTES = 16

/** A location is (1 + size class) * 2^26 + position within the class. */
const POSITION_BITS = 26
const POSITION_MASK = 2 ** POSITION_BITS - 1
/** Location of a slot without a block, as all are in new memory. */
const NOWHERE = 0

class SizeClass {
  readonly blockBytes: number
  readonly perPage: number
  readonly pages: Page[] = []
  used = 0

  constructor(blockBytes: number, pageBytes: number) {
    this.blockBytes = blockBytes
    this.perPage = blocksPerPage(blockBytes, pageBytes)
  }
}

export class Arena {
  /** Whether there is a budget: then `hasRoomFor` is to be asked before `allocate`. */
  readonly isBounded: boolean
  readonly #classes: SizeClass[]
  readonly #pageSizeBytes: number
  readonly #maxPages: number
  /** Number of the class for so many times SIZE_ALIGN_BYTES. */
  readonly #classNumbers: Uint8Array
  readonly #location: Uint32Array
  /** The last one that became empty is taken first: the processor's caches may still hold it. */
  readonly #emptyPages: Page[] = []
  #pageCount = 0
  #changes = 0
  readonly #allocated: BlockCursor = { page: NO_PAGE, start: 0 }

  /**
   * `slots`: slot numbers are below it. `maxBytes`: largest block asked for, its header not counted. `budgetBytes`: most
   * bytes of pages, but at least one page.
   */
  constructor(slots: number, maxBytes: number, budgetBytes?: number) {
    const sizes = blockSizes(maxBytes + BLOCK_HEADER_BYTES)
    this.isBounded = budgetBytes !== undefined
    this.#pageSizeBytes = pageSizeFor(sizes, budgetBytes)
    this.#maxPages = Math.max(1, Math.floor((budgetBytes ?? Infinity) / this.#pageSizeBytes))
    this.#classes = sizes.map((size) => new SizeClass(size, this.#pageSizeBytes))
    this.#classNumbers = classNumbers(sizes)
    // Zeroed memory of this size costs nothing until it is written to.
    this.#location = new Uint32Array(slots)
  }

  /** Bytes of all pages. */
  get pageBytes(): number {
    return this.#pageCount * this.#pageSizeBytes
  }

  /** How often blocks were given or taken: as long as it is the same, each slot's block is where it was. */
  get changes(): number {
    return this.#changes
  }

  /** Gives a slot that has none a block of at least `bytes` after its header, all zero. Valid until the next call. */
  allocate(slot: number, bytes: number): BlockCursor {
    const classNumber = this.#classNumberFor(bytes)
    const sizeClass = this.#classAt(classNumber)
    const position = sizeClass.used
    if (position === sizeClass.pages.length * sizeClass.perPage)
      sizeClass.pages.push(this.#takePage())
    sizeClass.used += 1
    this.#changes += 1
    this.#location[slot] = locationOf(classNumber, position)
    const block = this.#allocated
    block.page = pageAt(sizeClass, position)
    block.start = offsetAt(sizeClass, position)
    block.page.words[block.start >>> 2] = slot
    return block
  }

  /** Whether a block of at least `bytes` after its header can be given within the budget, after `freed` gave its own back. */
  hasRoomFor(bytes: number, freed?: number): boolean {
    const classNumber = this.#classNumberFor(bytes)
    const { used, pages, perPage } = this.#classAt(classNumber)
    if (used < pages.length * perPage || this.#emptyPages.length > 0) return true
    if (this.#pageCount < this.#maxPages) return true
    const location = freed === undefined ? NOWHERE : (this.#location[freed] ?? NOWHERE)
    return location >>> POSITION_BITS === 1 + classNumber
  }

  /** How many more blocks find room in pages that no block is in yet, when they are as large as those in use on average. */
  get blocksLeft(): number {
    const freePages = this.#maxPages - this.#pageCount + this.#emptyPages.length
    const used = this.#classes.reduce((sum, one) => sum + one.used, 0)
    const usedBytes = this.#classes.reduce((sum, one) => sum + one.used * one.blockBytes, 0)
    const averageBytes = used === 0 ? SMALLEST_BLOCK_BYTES : usedBytes / used
    return freePages * Math.floor((this.#pageSizeBytes - FIRST_BLOCK_BYTES) / averageBytes)
  }

  free(slot: number): void {
    const location = this.#location[slot] ?? 0
    const sizeClass = this.#classAt((location >>> POSITION_BITS) - 1)
    const position = location & POSITION_MASK
    const last = sizeClass.used - 1
    const lastPage = pageAt(sizeClass, last)
    const lastOffset = offsetAt(sizeClass, last)
    if (position !== last) {
      const owner = lastPage.words[lastOffset >>> 2] ?? 0
      pageAt(sizeClass, position).bytes.set(
        lastPage.bytes.subarray(lastOffset, lastOffset + sizeClass.blockBytes),
        offsetAt(sizeClass, position),
      )
      this.#location[owner] = location
    }
    lastPage.bytes.fill(0, lastOffset, lastOffset + sizeClass.blockBytes)
    sizeClass.used = last
    this.#changes += 1
    if (last % sizeClass.perPage === 0) this.#keepPage(sizeClass)
    this.#location[slot] = NOWHERE
  }

  isUsed(slot: number): boolean {
    return this.#location[slot] !== NOWHERE
  }

  /** Sets the cursor onto a slot's block; what it reads there holds until a block is freed. */
  seek(slot: number, cursor: BlockCursor): void {
    const location = this.#location[slot] ?? 0
    const sizeClass = this.#classAt((location >>> POSITION_BITS) - 1)
    const position = location & POSITION_MASK
    const pageNumber = (position / sizeClass.perPage) | 0
    cursor.page = sizeClass.pages[pageNumber] ?? NO_PAGE
    cursor.start =
      FIRST_BLOCK_BYTES + (position - pageNumber * sizeClass.perPage) * sizeClass.blockBytes
  }

  /** Reads what `seek` begins with. */
  touchLocation(slot: number): number {
    return (this.#location[slot] ?? 0) & 1
  }

  #classNumberFor(bytes: number): number {
    const aligned = Math.ceil((bytes + BLOCK_HEADER_BYTES) / SIZE_ALIGN_BYTES)
    return this.#classNumbers[aligned] ?? this.#classes.length
  }

  #classAt(classNumber: number): SizeClass {
    const sizeClass = this.#classes[classNumber]
    if (sizeClass === undefined) throw new RangeError('block larger than the arena was made for')
    return sizeClass
  }

  #takePage(): Page {
    const empty = this.#emptyPages.pop()
    if (empty !== undefined) return empty
    const Memory = this.pageBytes < COUNTED_BYTES ? ArrayBuffer : SharedArrayBuffer
    this.#pageCount += 1
    return pageOf(new Memory(this.#pageSizeBytes))
  }

  #keepPage(sizeClass: SizeClass): void {
    const page = sizeClass.pages.pop()
    if (page !== undefined) this.#emptyPages.push(page)
  }
}

/** `memory` is whole u64 long. */
export function pageOf(memory: ArrayBufferLike): Page {
  return {
    bytes: Buffer.from(memory),
    words: new Uint32Array(memory),
    longs: new BigUint64Array(memory),
    doubles: new Float64Array(memory),
  }
}

export interface Blocks {
  /** How many there are at a time at most, and how large they are, their headers not counted. */
  readonly blocks: number
  readonly blockBytes: number
}

/** Most bytes of pages for all these blocks, of an arena without a budget: the bound that it keeps. */
export function maxArenaBytes(kinds: readonly Blocks[]): number {
  const sizes = blockSizes(
    Math.max(...kinds.map(({ blockBytes }) => blockBytes)) + BLOCK_HEADER_BYTES,
  )
  const pages = kinds.map(({ blocks, blockBytes }) => {
    const size = sizes.find((one) => one >= blockBytes + BLOCK_HEADER_BYTES) ?? PAGE_BYTES
    return Math.ceil(blocks / blocksPerPage(size, PAGE_BYTES))
  })
  return pages.reduce((sum, count) => sum + count, sizes.length) * PAGE_BYTES
}

function blocksPerPage(blockBytes: number, pageBytes: number): number {
  return Math.floor((pageBytes - FIRST_BLOCK_BYTES) / blockBytes)
}

/** A power of two: so small that begun pages leave most of the budget to full ones, and two of the largest blocks fit. */
function pageSizeFor(sizes: readonly number[], budgetBytes: number | undefined): number {
  if (budgetBytes === undefined) return PAGE_BYTES
  const largest = FIRST_BLOCK_BYTES + 2 * (sizes.at(-1) ?? SMALLEST_BLOCK_BYTES)
  const smallestPage = 2 ** Math.ceil(Math.log2(largest))
  const share = 2 ** Math.floor(Math.log2(budgetBytes / (PAGES_PER_SIZE * sizes.length)))
  return Math.max(smallestPage, Math.min(share, MAX_BUDGET_PAGE_BYTES))
}

function blockSizes(largestBytes: number): number[] {
  const sizes = [SMALLEST_BLOCK_BYTES]
  for (let size = SMALLEST_BLOCK_BYTES; size < largestBytes; ) {
    size = Math.ceil((size * SIZE_RATIO) / SIZE_ALIGN_BYTES) * SIZE_ALIGN_BYTES
    sizes.push(size)
  }
  return sizes
}

/** By size in units of SIZE_ALIGN_BYTES: the first of these sizes that is as large. */
function classNumbers(sizes: readonly number[]): Uint8Array {
  const units = (sizes.at(-1) ?? 0) / SIZE_ALIGN_BYTES
  const numberOf = (_: unknown, unit: number) =>
    sizes.findIndex((size) => size >= unit * SIZE_ALIGN_BYTES)
  return Uint8Array.from({ length: units + 1 }, numberOf)
}

function locationOf(classNumber: number, position: number): number {
  return (1 + classNumber) * 2 ** POSITION_BITS + position
}

function pageAt(sizeClass: SizeClass, position: number): Page {
  const page = sizeClass.pages[Math.floor(position / sizeClass.perPage)]
  if (page === undefined) throw new RangeError('no such block')
  return page
}

function offsetAt(sizeClass: SizeClass, position: number): number {
  return FIRST_BLOCK_BYTES + (position % sizeClass.perPage) * sizeClass.blockBytes
}
