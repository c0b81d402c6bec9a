// What the decoder of messages takes from protobufjs without its documentation: tried when a type is loaded.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import protobuf from 'protobufjs'
import { hasMistypedField, loadMessageType } from '../../src/wire/schema.ts'

const load = () => loadMessageType('hooks.proto', 'tlscached.hooks.Request')

/** Until the test ends, what protobufjs decodes is without this property. */
function removeFromDecoded(t: TestContext, name: string): void {
  const { decode } = protobuf.Type.prototype
  t.mock.method(protobuf.Type.prototype, 'decode', function (this: protobuf.Type, reader: never) {
    const decoded = decode.call(this, reader)
    Object.defineProperty(decoded, name, { value: undefined })
    return decoded
  })
}

test('a field of a wrong wire type is found', () => {
  const [field] = new protobuf.Root()
    .loadSync('proto/hooks.proto')
    .lookupType('tlscached.hooks.Request').fieldsArray
  assert.ok(field !== undefined)
  const mistyped = protobuf.Writer.create()
    .uint32((field.id << 3) | 1)
    .fixed64(7)
    .finish()
  const decoded = load().decode(Buffer.from(mistyped))
  assert.ok(decoded !== undefined && hasMistypedField(decoded))
})

for (const name of ['$unknowns', '$type']) {
  test(`no type is loaded when protobufjs decodes without ${name}`, (t) => {
    removeFromDecoded(t, name)
    assert.throws(load, {
      code: 'ERR_INTERNAL',
      message: /^the installed protobufjs does not keep fields of a wrong wire type: install/,
    })
  })
}
