-- TLS 1.2 sessions of nginx in the node on this machine, over memcached's text protocol on a unix socket.
--
-- OpenSSL asks for a session in the middle of a handshake and nginx cannot pause there, so the lookup blocks the
-- worker: for some 50 microseconds, and for `timeout_ms` when the node hangs; after `most_late` late answers in a row
-- the worker asks nobody for `retry_sec`. The store happens after the handshake, without blocking.

local ffi = require "ffi"
local clienthello = require "ngx.ssl.clienthello"
local ssl_session = require "ngx.ssl.session"

ffi.cdef [[
typedef struct { unsigned short family; char path[108]; } tlscached_sockaddr_un;
typedef struct { long sec; long usec; } tlscached_timeval;
int socket(int domain, int type, int protocol);
int connect(int fd, const tlscached_sockaddr_un *address, unsigned int length);
int setsockopt(int fd, int level, int name, const void *value, unsigned int length);
ssize_t send(int fd, const char *bytes, size_t length, int flags);
ssize_t recv(int fd, char *bytes, size_t length, int flags);
int close(int fd);
]]

-- Linux on x86 and ARM.
local AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC = 1, 1, 0x80000
local SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO = 1, 20, 21
local MSG_NOSIGNAL = 0x4000
local EAGAIN = 11

local KEY_PREFIX = "nginx:tls-session:"
-- The module itself takes sessions up to 4096 bytes.
local MAX_REPLY_BYTES = 8192
local MAX_READS = 16

local _M = {}
local options = { timeout_ms = 50, most_late = 3, retry_sec = 1, lifetime_sec = 300 }
local address = ffi.new("tlscached_sockaddr_un")
local buffer = ffi.new("char[?]", MAX_REPLY_BYTES)
-- Of this worker: made at its first lookup, never shared with another process.
local connection
local late_in_a_row, retry_at = 0, 0

function _M.setup(given)
  for name, value in pairs(given) do options[name] = value end
  local path = assert(options.socket, "tlscached: setup needs a socket")
  assert(#path < ffi.sizeof(address.path), "tlscached: the path of the socket is too long")
  address.family = AF_UNIX
  ffi.copy(address.path, path)
end

local function disconnect()
  if connection then ffi.C.close(connection) end
  connection = nil
end

-- Whether it is connected; the second result says whether it took too long, as it does when the backlog of a node that
-- hangs is full.
local function connect()
  local fd = ffi.C.socket(AF_UNIX, SOCK_STREAM + SOCK_CLOEXEC, 0)
  if fd < 0 then return false end
  local time = ffi.new("tlscached_timeval", 0, options.timeout_ms * 1000)
  ffi.C.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, time, ffi.sizeof(time))
  ffi.C.setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, time, ffi.sizeof(time))
  connection = fd
  if ffi.C.connect(fd, address, ffi.sizeof(address)) == 0 then return true end
  return false, ffi.errno() == EAGAIN
end

-- The value, false for a miss, nil when the connection is of no more use: closed, not an answer to `key`, or too late,
-- which the second result says.
local function ask(key)
  local request = "get " .. key .. "\r\n"
  if ffi.C.send(connection, request, #request, MSG_NOSIGNAL) ~= #request then return nil end
  local length = 0
  for _ = 1, MAX_READS do
    local count = tonumber(ffi.C.recv(connection, buffer + length, MAX_REPLY_BYTES - length, 0))
    if count <= 0 then return nil, count < 0 and ffi.errno() == EAGAIN end
    length = length + count
    local reply = ffi.string(buffer, length)
    if reply == "END\r\n" then return false end
    local _, head_end, found, size = reply:find("^VALUE (%S+) %d+ (%d+)\r\n")
    if head_end then
      size = tonumber(size)
      local whole = head_end + size + #"\r\nEND\r\n"
      if found ~= key or whole > MAX_REPLY_BYTES then return nil end
      if length >= whole then
        return reply:sub(head_end + size + 1) == "\r\nEND\r\n" and reply:sub(head_end + 1, head_end + size) or nil
      end
    end
  end
  return nil
end

-- As `ask`, over a new connection when there is none.
local function connect_and_ask(key)
  if not connection then
    local is_connected, is_late = connect()
    if not is_connected then return nil, is_late end
  end
  return ask(key)
end

local function lookup(key)
  if ngx.now() < retry_at then return nil end
  local was_connected = connection ~= nil
  local value, is_late = connect_and_ask(key)
  if value == nil and was_connected and not is_late then
    -- The node may have been started again since.
    disconnect()
    value, is_late = connect_and_ask(key)
  end
  if value == nil then disconnect() end
  late_in_a_row = is_late and late_in_a_row + 1 or 0
  if late_in_a_row == options.most_late then
    late_in_a_row, retry_at = 0, ngx.now() + options.retry_sec
  end
  return value or nil
end

-- The server name a session was made for: field [6] of its DER, an OCTET STRING.
local function server_name_of(session)
  local at = 1
  local function header()
    local tag, length = session:byte(at, at + 1)
    if not length then return nil end
    at = at + 2
    if length < 0x80 then return tag, length end
    local bytes = length - 0x80
    if bytes < 1 or bytes > 2 or at + bytes > #session then return nil end
    length = 0
    for _ = 1, bytes do
      length = length * 256 + session:byte(at)
      at = at + 1
    end
    return tag, length
  end
  if header() ~= 0x30 then return nil end
  while at <= #session do
    local tag, length = header()
    if not tag then return nil end
    if tag == 0xa6 then
      local inner, size = header()
      return inner == 0x04 and session:sub(at, at + size - 1) or nil
    end
    at = at + length
  end
  return nil
end

function _M.remember_server_name()
  ngx.ctx.tls_server_name = clienthello.get_client_hello_server_name()
end

function _M.fetch()
  local id = ssl_session.get_session_id()
  local session = id and lookup(KEY_PREFIX .. id)
  -- RFC 6066, 3: never under another name than it was made under.
  if session and server_name_of(session) == ngx.ctx.tls_server_name then
    ssl_session.set_serialized_session(session)
  end
end

local function put(premature, key, session)
  if premature then return end
  local socket = ngx.socket.tcp()
  socket:settimeout(1000)
  local ok, why = socket:connect("unix:" .. options.socket)
  if not ok then return ngx.log(ngx.WARN, "tlscached: ", why) end
  local head = "set " .. key .. " 0 " .. options.lifetime_sec .. " " .. #session .. "\r\n"
  ok, why = socket:send { head, session, "\r\n" }
  local answer
  if ok then answer, why = socket:receive() end
  if not answer then
    socket:close()
    return ngx.log(ngx.WARN, "tlscached: ", why)
  end
  if answer ~= "STORED" then ngx.log(ngx.WARN, "tlscached: not stored: ", answer) end
  socket:setkeepalive(10000, 8)
end

function _M.store()
  local session, why = ssl_session.get_serialized_session()
  local id = ssl_session.get_session_id()
  if not session or not id then return ngx.log(ngx.WARN, "tlscached: ", why) end
  local ok, full = ngx.timer.at(0, put, KEY_PREFIX .. id, session)
  if not ok then ngx.log(ngx.WARN, "tlscached: ", full) end
end

return _M
