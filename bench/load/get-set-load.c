/*
 * Load for servers that answer gets and sets over TCP: memcached's text protocol and Redis' RESP.
 *
 *   get-set-load memcached|redis get|set HOST PORT CONNECTIONS OUTSTANDING SECONDS KEYS VALUE_BYTES
 *
 * Keys are "key:" and eight digits, 0..KEYS-1, each with a value of VALUE_BYTES bytes, so that all requests and
 * all answers have one length; each answer is checked at its first and last byte. Every connection keeps OUTSTANDING
 * of them on their way: when n answers came in one read, the next n go in one write. Prints one JSON document.
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
#define MAX_HEAD_BYTES 64
/* Latencies in buckets of 10 us, up to one second. */
#define BUCKET_US 10
#define BUCKETS 100000

struct connection {
  int fd;
  /* Bytes of the answer that is coming in. */
  long got;
  /* When each outstanding request was sent, oldest at `head`. */
  uint64_t sent_ns[MAX_OUTSTANDING];
  int head;
};

static struct connection connections[MAX_CONNECTIONS];
static uint32_t histogram[BUCKETS];
static int outstanding;
/* A request, and where the last digit of its key is. */
static char request[MAX_HEAD_BYTES + MAX_VALUE_BYTES];
static long request_bytes, last_digit;
/* What an answer begins with. */
static char first_byte;
static long keys, answer_bytes, done;
static uint64_t seed = 88172645463325252ull;

static void fail(const char *what) {
  fprintf(stderr, "get-set-load: %s: %s\n", what, errno ? strerror(errno) : "unexpected answer");
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

static void prepare(int is_redis, int is_set, int value_bytes) {
  static const char key[] = "key:00000000";
  char head[MAX_HEAD_BYTES];
  if (is_redis)
    request_bytes = sprintf(request, "*%d\r\n$3\r\n%s\r\n$12\r\n%s", is_set ? 3 : 2,
                            is_set ? "SET" : "GET", key);
  else
    request_bytes = sprintf(request, "%s %s", is_set ? "set" : "get", key);
  last_digit = request_bytes - 1;
  if (is_set) {
    const char *format = is_redis ? "\r\n$%d\r\n" : " 0 3600 %d\r\n";
    request_bytes += sprintf(request + request_bytes, format, value_bytes);
    memset(request + request_bytes, 'x', value_bytes);
    request_bytes += value_bytes;
  }
  memcpy(request + request_bytes, "\r\n", 2);
  request_bytes += 2;
  if (is_set) {
    answer_bytes = strlen(is_redis ? "+OK\r\n" : "STORED\r\n");
    first_byte = is_redis ? '+' : 'S';
  } else if (is_redis) {
    answer_bytes = sprintf(head, "$%d\r\n", value_bytes) + value_bytes + strlen("\r\n");
    first_byte = '$';
  } else {
    answer_bytes = sprintf(head, "VALUE %s 0 %d\r\n", key, value_bytes) + value_bytes +
                   strlen("\r\nEND\r\n");
    first_byte = 'V';
  }
}

static int write_request(char *at) {
  memcpy(at, request, request_bytes);
  char *digit = at + last_digit;
  for (long key = next_key(), count = 0; count < 8; count++, key /= 10) *digit-- = '0' + key % 10;
  return (int)request_bytes;
}

static void ask(struct connection *one, int count, uint64_t at_ns, int slot) {
  static char requests[MAX_OUTSTANDING * sizeof request];
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
    if (one->got == 0 && bytes[at] != first_byte) errno = 0, fail("answer");
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
  if (argc != 10) return fprintf(stderr, "get-set-load: wrong arguments\n"), 2;
  int count = atoi(argv[5]), value_bytes = atoi(argv[9]);
  outstanding = atoi(argv[6]);
  double seconds = atof(argv[7]);
  keys = atol(argv[8]);
  if (count < 1 || count > MAX_CONNECTIONS || outstanding < 1 || outstanding > MAX_OUTSTANDING ||
      keys < 1 || value_bytes < 1 || value_bytes > MAX_VALUE_BYTES)
    return fprintf(stderr, "get-set-load: argument out of bounds\n"), 2;
  prepare(strcmp(argv[1], "redis") == 0, strcmp(argv[2], "set") == 0, value_bytes);
  int epoll = epoll_create1(0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[4]))};
  inet_pton(AF_INET, argv[3], &address.sin_addr);
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
