/*
 * Load for servers that answer gets over TCP: memcached's text protocol and Redis' RESP.
 *
 *   get-load memcached|redis HOST PORT CONNECTIONS OUTSTANDING SECONDS KEYS VALUE_BYTES
 *
 * Keys are "key:" and eight digits, 0..KEYS-1, each with a value of VALUE_BYTES bytes, so that all answers
 * have one length; each is checked at its first and last byte. Every connection keeps OUTSTANDING gets on
 * their way: when n answers came in one read, the next n go in one write. Prints one JSON document.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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
#define MAX_OUTSTANDING 64
#define MAX_VALUE_BYTES 65536
#define READ_BYTES 262144
#define MAX_REQUEST_BYTES 64
/* Latencies in buckets of 10 us, up to one second. */
#define BUCKET_US 10
#define BUCKETS 100000

struct connection {
  int fd;
  /* Bytes of the answer that is coming in. */
  long got;
  int first, last;
  /* When each outstanding get was sent, oldest at `head`. */
  uint64_t sent_ns[MAX_OUTSTANDING];
  int head;
};

static struct connection connections[MAX_CONNECTIONS];
static uint32_t histogram[BUCKETS];
static int is_redis, outstanding;
static long keys, answer_bytes, request_bytes, done;
static uint64_t seed = 88172645463325252ull;

static void fail(const char *what) {
  fprintf(stderr, "get-load: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + now.tv_nsec;
}

static long next_key(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (long)(seed % (uint64_t)keys);
}

static int write_request(char *at) {
  static const char memcached[] = "get key:00000000\r\n";
  static const char redis[] = "*2\r\n$3\r\nGET\r\n$12\r\nkey:00000000\r\n";
  const char *text = is_redis ? redis : memcached;
  memcpy(at, text, request_bytes);
  char *digit = at + request_bytes - 3;
  for (long key = next_key(), count = 0; count < 8; count++, key /= 10) *digit-- = '0' + key % 10;
  return (int)request_bytes;
}

static void ask(struct connection *one, int count, uint64_t at_ns, int slot) {
  char requests[MAX_OUTSTANDING * MAX_REQUEST_BYTES];
  int length = 0;
  for (int index = 0; index < count; index++) {
    one->sent_ns[(slot + index) % outstanding] = at_ns;
    length += write_request(requests + length);
  }
  if (send(one->fd, requests, length, MSG_NOSIGNAL) != length) fail("send");
}

static void take(struct connection *one) {
  static char bytes[READ_BYTES];
  ssize_t length = recv(one->fd, bytes, sizeof bytes, 0);
  if (length < 0 && errno == EAGAIN) return;
  if (length <= 0) fail("recv");
  uint64_t at_ns = now_ns();
  int count = 0, slot = one->head;
  for (ssize_t at = 0; at < length;) {
    if (one->got == 0 && bytes[at] != (is_redis ? '$' : 'V')) errno = 0, fail("answer");
    long left = answer_bytes - one->got;
    if (left > length - at) {
      one->got += length - at;
      break;
    }
    at += left;
    one->got = 0;
    if (bytes[at - 1] != '\n') errno = 0, fail("answer");
    uint64_t bucket = (at_ns - one->sent_ns[one->head]) / 1000 / BUCKET_US;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    one->head = (one->head + 1) % outstanding;
    count++;
  }
  done += count;
  if (count > 0) ask(one, count, at_ns, slot);
}

static double percentile_us(double share) {
  uint64_t seen = 0;
  for (int bucket = 0; bucket < BUCKETS; bucket++) {
    seen += histogram[bucket];
    if (seen >= (uint64_t)(done * share)) return (bucket + 1) * (double)BUCKET_US;
  }
  return BUCKETS * (double)BUCKET_US;
}

int main(int argc, char **argv) {
  if (argc != 9) return fprintf(stderr, "get-load: wrong arguments\n"), 2;
  is_redis = strcmp(argv[1], "redis") == 0;
  int count = atoi(argv[4]), value_bytes = atoi(argv[8]);
  outstanding = atoi(argv[5]);
  double seconds = atof(argv[6]);
  keys = atol(argv[7]);
  if (count < 1 || count > MAX_CONNECTIONS || outstanding < 1 || outstanding > MAX_OUTSTANDING ||
      keys < 1 || value_bytes < 1 || value_bytes > MAX_VALUE_BYTES)
    return fprintf(stderr, "get-load: argument out of bounds\n"), 2;
  char head[64];
  request_bytes = is_redis ? 13 + 5 + 12 + 2 : 18;
  answer_bytes = is_redis ? snprintf(head, sizeof head, "$%d\r\n", value_bytes) + value_bytes + 2
                          : snprintf(head, sizeof head, "VALUE key:00000000 0 %d\r\n", value_bytes) +
                                value_bytes + 7;
  int epoll = epoll_create1(0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  inet_pton(AF_INET, argv[2], &address.sin_addr);
  for (int index = 0; index < count; index++) {
    struct connection *one = &connections[index];
    int yes = 1;
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    fcntl(one->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event) != 0) fail("epoll");
  }
  uint64_t start_ns = now_ns(), end_ns = start_ns + (uint64_t)(seconds * 1e9);
  for (int index = 0; index < count; index++) ask(&connections[index], outstanding, start_ns, 0);
  struct epoll_event events[MAX_CONNECTIONS];
  while (now_ns() < end_ns) {
    int ready = epoll_wait(epoll, events, MAX_CONNECTIONS, 100);
    for (int index = 0; index < ready; index++) take(events[index].data.ptr);
  }
  double took = (double)(now_ns() - start_ns) / 1e9;
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  printf("{\"operations\":%ld,\"seconds\":%.6f,\"cpuSec\":%.6f,\"p50Us\":%.0f,\"p99Us\":%.0f}\n", done,
         took, cpu, percentile_us(0.5), percentile_us(0.99));
  return 0;
}
