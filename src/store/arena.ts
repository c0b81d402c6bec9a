// Memory for sessions outside the JavaScript heap: blocks of a few sizes, carved from large pages.
//
// The blocks of one size are kept without holes: when a block is freed, the last block of its size moves into its
// place, and a page that becomes empty is the next one used, for any size. So nothing fragments, and the pages never
// exceed what the largest number of blocks in use at one time filled, plus one partly filled page per size: that is the
// hard bound. Callers name each block by a slot number of their own, which stays the same when the block moves. A freed
// block is zeroed.
//
// V8 marks its whole heap each time that 64 MiB of buffers were made: a node that fills spent a tenth of its time on
// that (measured). V8 does not count SharedArrayBuffers, so the pages of a large arena are made of those, though no
// other thread uses them. V8 frees uncounted memory late, so an arena never gives pages back; its first pages are of
// memory that is counted, for processes in which nodes are made and closed again and again.

/** One page, as views of bytes, u32, u64 and f64 over one memory; all blocks begin and end at a multiple of 8. */
export interface Page {
  readonly bytes: Buffer
  readonly words: Uint32Array
  readonly longs: BigUint64Array
  readonly doubles: Float64Array
}

/** The place of a block: it begins at byte `start` of the page; the caller's bytes come after its header. */
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

/** Bytes at the start of each block that the arena uses itself: the owner's slot number as a u32. */
export const BLOCK_HEADER_BYTES = 4

const PAGE_BYTES = 4_194_304
/** Largest page of an arena with a budget: to empty one for another block size takes a few milliseconds. */
const MAX_BUDGET_PAGE_BYTES = 1_048_576
/**
 * A budget is cut into at least this many pages per block size, if those hold two of the largest blocks, so that partly
 * filled pages waste little of it.
 */
const PAGES_PER_SIZE = 4
/** Bytes of the first pages, which V8 counts: as many as make it collect garbage once. */
const COUNTED_BYTES = 16 * PAGE_BYTES
/**
 * Offset of the first block in a page. Memory of this size from glibc begins 16 bytes after a multiple of 4096, so with
 * this offset blocks of a multiple of 64 bytes begin where a cache line of the processor does, and a session of 130
 * bytes takes three cache lines instead of four.
 */
const FIRST_BLOCK_BYTES = 48
const SMALLEST_BLOCK_BYTES = 64
/** Least ratio of a block size to the one before: up to a sixth of a block is unused, of the smallest a quarter. */
const SIZE_RATIO = 1.2
const SIZE_ALIGN_BYTES = 16

/** Bits of a location that hold the position within the size class; the bits above hold 1 + the class number. */
const POSITION_BITS = 26
const POSITION_MASK = 2 ** POSITION_BITS - 1
/** Location of a slot without a block; zero, so that it is every slot's in new memory. */
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
  /** Whether the arena has a budget. `allocate` does not check it: callers ask `hasRoomFor` first. */
  readonly isBounded: boolean
  readonly #classes: SizeClass[]
  readonly #pageSizeBytes: number
  readonly #maxPages: number
  /** Class number by block size in units of SIZE_ALIGN_BYTES. */
  readonly #classNumbers: Uint8Array
  readonly #location: Uint32Array
  /** Pages without blocks. The one emptied last is used first: the processor's caches may still hold it. */
  readonly #emptyPages: Page[] = []
  #pageCount = 0
  #changes = 0
  readonly #allocated: BlockCursor = { page: NO_PAGE, start: 0 }

  /**
   * Slot numbers are below `slots`. `maxBytes` is the largest block that may be allocated, its header not counted.
   * `budgetBytes` limits the bytes of all pages, but one page is always allowed.
   */
  constructor(slots: number, maxBytes: number, budgetBytes?: number) {
    const sizes = blockSizes(maxBytes + BLOCK_HEADER_BYTES)
    this.isBounded = budgetBytes !== undefined
    this.#pageSizeBytes = pageSizeFor(sizes, slots, budgetBytes)
    this.#maxPages = Math.max(1, Math.floor((budgetBytes ?? Infinity) / this.#pageSizeBytes))
    this.#classes = sizes.map((size) => new SizeClass(size, this.#pageSizeBytes))
    this.#classNumbers = classNumbers(sizes)
    // The kernel provides zeroed memory of this size lazily: it costs nothing until it is written to.
    this.#location = new Uint32Array(slots)
  }

  /** Bytes of all pages, empty ones included. */
  get pageBytes(): number {
    return this.#pageCount * this.#pageSizeBytes
  }

  /** Number of calls of `allocate` and `free` so far: while it is unchanged, every block is where it was. */
  get changes(): number {
    return this.#changes
  }

  /**
   * Gives a slot that has none a block with at least `bytes` zero bytes after its header. Returns one shared cursor.
   */
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

  /**
   * Whether a block with `bytes` after its header fits into the budget, once the block of the slot `freed` is freed.
   */
  hasRoomFor(bytes: number, freed?: number): boolean {
    const classNumber = this.#classNumberFor(bytes)
    const { used, pages, perPage } = this.#classAt(classNumber)
    if (used < pages.length * perPage || this.#emptyPages.length > 0) return true
    if (this.#pageCount < this.#maxPages) return true
    const location = freed === undefined ? NOWHERE : (this.#location[freed] ?? NOWHERE)
    return location >>> POSITION_BITS === 1 + classNumber
  }

  /** Estimate of how many more blocks fit into pages without blocks, at the average size of the blocks in use. */
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

  /** Sets the cursor onto a slot's block, where it stays right until a block is freed. */
  seek(slot: number, cursor: BlockCursor): void {
    const location = this.#location[slot] ?? 0
    const sizeClass = this.#classAt((location >>> POSITION_BITS) - 1)
    const position = location & POSITION_MASK
    const pageNumber = (position / sizeClass.perPage) | 0
    cursor.page = sizeClass.pages[pageNumber] ?? NO_PAGE
    cursor.start =
      FIRST_BLOCK_BYTES + (position - pageNumber * sizeClass.perPage) * sizeClass.blockBytes
  }

  /** Brings the memory that `seek` reads first into the processor's cache; the result has no meaning. */
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

/** Views over this memory, whose length is a multiple of 8. */
export function pageOf(memory: ArrayBufferLike): Page {
  return {
    bytes: Buffer.from(memory),
    words: new Uint32Array(memory),
    longs: new BigUint64Array(memory),
    doubles: new Float64Array(memory),
  }
}

export interface Blocks {
  /** Largest number of blocks at one time. */
  readonly blocks: number
  /** Bytes of each block, its header not counted. */
  readonly blockBytes: number
}

/** Upper bound of `pageBytes` for an arena without a budget that holds at most these blocks. */
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

/**
 * Bytes of a page, a power of two: with a budget one that holds two of the largest blocks, otherwise PAGE_BYTES, or less
 * where the blocks of all slots take less.
 */
function pageSizeFor(
  sizes: readonly number[],
  slots: number,
  budgetBytes: number | undefined,
): number {
  const holding = (blocks: number) => {
    const bytes = FIRST_BLOCK_BYTES + blocks * (sizes.at(-1) ?? SMALLEST_BLOCK_BYTES)
    return 2 ** Math.ceil(Math.log2(bytes))
  }
  if (budgetBytes === undefined) return Math.min(PAGE_BYTES, holding(slots))
  const smallestPage = holding(2)
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

/** For each size in units of SIZE_ALIGN_BYTES, the number of the smallest of these block sizes that is as large. */
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
