// A client of a node's rpc socket, for the commands that change a running node: only its user and root can open it.

import { connect } from 'node:net'
import { Option } from 'commander'
import { formatAddress, parseAddress, type UnixAddress } from '../base/address.ts'
import { messageOf, TlscachedError } from '../base/errors.ts'
import { FrameReader } from '../wire/framing.ts'
import {
  decodeHooksResponse,
  encodeHooksRequest,
  type HooksCall,
  type HooksResponse,
  MAX_HOOKS_FRAME_BYTES,
} from '../wire/hooks-message.ts'

const USUAL_SOCKET = '/run/tlscached/rpc.sock'
const TIMEOUT_MS = 5000
const CALL_NUMBER = 1

export function rpcOption(): Option {
  return new Option('--rpc <address>', 'unix socket of frontends.rpc of the node')
    .argParser(parseUnixAddress)
    .default({ path: USUAL_SOCKET }, `unix:${USUAL_SOCKET}`)
}

/** Sends one call; rejects with ERR_UNREACHABLE or ERR_DEADLINE. */
export function callNode(address: UnixAddress, call: HooksCall): Promise<HooksResponse['result']> {
  const where = formatAddress(address)
  return new Promise((resolve, reject) => {
    const fail = (code: 'ERR_UNREACHABLE' | 'ERR_DEADLINE', message: string) => {
      socket.destroy()
      reject(new TlscachedError(code, message))
    }
    const frames = new FrameReader(MAX_HOOKS_FRAME_BYTES)
    const socket = connect({ ...address, timeout: TIMEOUT_MS })
    socket.on('connect', () => socket.write(encodeHooksRequest(CALL_NUMBER, call)))
    socket.on('timeout', () => fail('ERR_DEADLINE', `no answer from ${where} within 5 s`))
    socket.on('error', (error) => {
      fail('ERR_UNREACHABLE', `cannot reach the node at ${where}: ${messageOf(error)}`)
    })
    // An earlier release ends a connection over what it takes for no request.
    socket.on('close', () => fail('ERR_UNREACHABLE', `${where} closed the connection`))
    socket.on('data', (piece) => {
      frames.append(piece)
      const frame = frames.next()
      if (frame === undefined) return
      const response = frame === 'malformed' ? undefined : decodeHooksResponse(frame)
      if (response?.number !== CALL_NUMBER) return fail('ERR_UNREACHABLE', `${where} is no node`)
      socket.destroy()
      resolve(response.result)
    })
  })
}

function parseUnixAddress(text: string): UnixAddress {
  const address = parseAddress(text)
  if ('path' in address) return address
  throw new TlscachedError(
    'ERR_ADDRESS',
    `"${text}" is no unix socket: what changes a node goes over unix:/path alone`,
  )
}
