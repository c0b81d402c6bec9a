/*
 * Load for TLS servers: handshakes, full ones or ones that resume, each on a connection of its own.
 *
 *   handshake-load HOST PORT CONNECTIONS SECONDS full|resumed 1.2|1.3
 *
 * CONNECTIONS are open at any time. Each one is over when the server has sent at least one byte and closed:
 * sessions of TLS 1.3 come before that byte, so the client always has them.
 * With "resumed" each of the CONNECTIONS offers the session it was given last; the first handshake of each
 * comes before the measurement. One cipher and one key exchange, so that every server computes the same: P-256
 * is named for the certificate only.
 *
 * Prints "start" when the measurement begins and one JSON document at its end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define NS_PER_SEC 1000000000ull
/* A connection that takes longer has failed. */
#define TIMEOUT_NS (5 * NS_PER_SEC)
#define WARM_UP_NS (15 * NS_PER_SEC)
/* A server that refuses is not asked at once again. */
#define FAILURE_PAUSE_US 1000

struct client {
  SSL *ssl;
  SSL_SESSION *session;
  int fd, is_connected;
  long answered;
  uint64_t start_ns;
  /* Connections that went well. */
  long done;
};

static struct client clients[MAX_CONNECTIONS];
static struct sockaddr_in address;
static SSL_CTX *context;
static int epoll, is_resuming, count;
static long handshakes, resumed, failed;

static void fail(const char *what) {
  fprintf(stderr, "handshake-load: %s: %s\n", what, errno ? strerror(errno) : "failed");
  ERR_print_errors_fp(stderr);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static double cpu_sec(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Whose certificate it is does not matter here: the chain is not looked at, the signature of the handshake is. */
static int trust(X509_STORE_CTX *chain, void *nothing) {
  (void)chain, (void)nothing;
  return 1;
}

static void begin(struct client *one) {
  int yes = 1;
  one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (one->fd < 0) fail("socket");
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (connect(one->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
    fail("connect");
  one->ssl = SSL_new(context);
  if (one->ssl == NULL || !SSL_set_fd(one->ssl, one->fd)) fail("SSL_new");
  SSL_set_connect_state(one->ssl);
  if (is_resuming && one->session != NULL) SSL_set_session(one->ssl, one->session);
  one->is_connected = 0;
  one->answered = 0;
  one->start_ns = now_ns();
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = one};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event) != 0) fail("epoll");
}

static void end(struct client *one, int is_good) {
  if (is_good) {
    handshakes++;
    one->done++;
    if (SSL_session_reused(one->ssl)) resumed++;
    SSL_shutdown(one->ssl);
    if (is_resuming) {
      SSL_SESSION_free(one->session);
      one->session = SSL_get1_session(one->ssl);
    }
  } else {
    failed++;
    /* Not its session's fault: without this OpenSSL would not offer it again. */
    SSL_set_quiet_shutdown(one->ssl, 1);
    SSL_shutdown(one->ssl);
    usleep(FAILURE_PAUSE_US);
  }
  SSL_free(one->ssl);
  close(one->fd);
  ERR_clear_error();
  begin(one);
}

/* After a call that did not do its work: it has to wait, or the connection has ended. */
static void wait_or_end(struct client *one, int result) {
  int why = SSL_get_error(one->ssl, result);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
  end(one, why == SSL_ERROR_ZERO_RETURN && one->answered > 0);
}

static void advance(struct client *one) {
  static char bytes[16384];
  errno = 0;
  ERR_clear_error();
  if (!one->is_connected) {
    int result = SSL_do_handshake(one->ssl);
    if (result != 1) return wait_or_end(one, result);
    one->is_connected = 1;
  }
  for (;;) {
    int result = SSL_read(one->ssl, bytes, sizeof bytes);
    if (result <= 0) return wait_or_end(one, result);
    one->answered += result;
  }
}

static void run(uint64_t end_ns) {
  static struct epoll_event events[MAX_CONNECTIONS];
  uint64_t next_look_ns = now_ns() + NS_PER_SEC;
  for (uint64_t at_ns; (at_ns = now_ns()) < end_ns;) {
    int ready = epoll_wait(epoll, events, MAX_CONNECTIONS, 20);
    for (int index = 0; index < ready; index++) advance(events[index].data.ptr);
    if (at_ns < next_look_ns) continue;
    next_look_ns = at_ns + NS_PER_SEC;
    for (int index = 0; index < count; index++)
      if (at_ns > clients[index].start_ns + TIMEOUT_NS) end(&clients[index], 0);
  }
}

static int is_warm(void) {
  for (int index = 0; index < count; index++)
    if (clients[index].done == 0) return 0;
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 7) return fprintf(stderr, "handshake-load: wrong arguments\n"), 2;
  count = atoi(argv[3]);
  double seconds = atof(argv[4]);
  is_resuming = strcmp(argv[5], "resumed") == 0;
  int version = strcmp(argv[6], "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
  if (count < 1 || count > MAX_CONNECTIONS || seconds <= 0)
    return fprintf(stderr, "handshake-load: argument out of bounds\n"), 2;
  signal(SIGPIPE, SIG_IGN);
  address.sin_family = AF_INET;
  address.sin_port = htons(atoi(argv[2]));
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) fail("address");
  context = SSL_CTX_new(TLS_client_method());
  if (context == NULL || !SSL_CTX_set_min_proto_version(context, version) ||
      !SSL_CTX_set_max_proto_version(context, version) ||
      !SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256") ||
      !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") ||
      !SSL_CTX_set1_groups_list(context, "X25519:P-256"))
    fail("context");
  /* A server that closes without a goodbye is fine, and OpenSSL shall offer its session again. */
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_cert_verify_callback(context, trust, NULL);
  /* With a cache of its own OpenSSL takes a session of TLS 1.3, once used, and those made with it as spent. */
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  epoll = epoll_create1(0);
  for (int index = 0; index < count; index++) begin(&clients[index]);
  uint64_t warm_up_end_ns = now_ns() + WARM_UP_NS;
  while (!is_warm() && now_ns() < warm_up_end_ns) run(now_ns() + NS_PER_SEC / 50);
  errno = 0;
  if (!is_warm()) fail("not every client was served");
  handshakes = resumed = failed = 0;
  printf("start\n");
  fflush(stdout);
  double cpu_before = cpu_sec();
  uint64_t start_ns = now_ns();
  run(start_ns + (uint64_t)(seconds * NS_PER_SEC));
  double took = (double)(now_ns() - start_ns) / NS_PER_SEC;
  printf("{\"handshakes\":%ld,\"resumed\":%ld,\"failed\":%ld,\"seconds\":%.6f,\"cpuSec\":%.6f}\n",
         handshakes, resumed, failed, took, cpu_sec() - cpu_before);
  return 0;
}
