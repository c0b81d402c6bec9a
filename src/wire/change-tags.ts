// The tag bytes of the fields in a message with changes, for the code that writes and reads it without protobufjs. A
// tag is the field's number in replication.proto times 8 plus its wire type.

const VARINT = 0
const FIXED64 = 1
const BYTES = 2

/** Tag of Message.changes. */
export const MESSAGE_CHANGES = tag(1, BYTES)

/** Tags of the fields of Changes. */
export const CHANGES = {
  sentWallMs: tag(1, FIXED64),
  caches: tag(2, BYTES),
  puts: tag(3, BYTES),
  removes: tag(4, BYTES),
} as const

/** Tags of the fields of Put. Remove has the same ones except context, server name, session and age. */
export const ENTRY = {
  cache: tag(1, VARINT),
  id: tag(2, BYTES),
  context: tag(3, BYTES),
  serverName: tag(4, BYTES),
  session: tag(5, BYTES),
  ttlMs: tag(6, VARINT),
  clock: tag(7, FIXED64),
  origin: tag(8, FIXED64),
  ageMs: tag(9, VARINT),
} as const

/** The tag of a field whose number is below 16, so that one byte is enough. */
function tag(field: number, wireType: number): number {
  return (field << 3) | wireType
}
