/*
 * Load for stunnel's sessiond protocol over UDP: gets at an even rate, whatever the answers take.
 *
 *   sessiond-load HOST PORT RATE SECONDS SESSIONS
 *
 * Asks RATE times a second for one of SESSIONS sessions at random; their IDs begin with their number and go
 * on with 0x5a. One socket, unlike stunnel, which opens one a request: this measures the node. It sleeps between
 * two requests, and goes before all else on its processor where it may, so that what it waits for is the node alone.
 * An answer that has not come when the run ends counts as lost. Prints one JSON document.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ID_BYTES 32
#define HEAD_BYTES (4 + ID_BYTES)
#define MAX_SESSIONS 65536
/* Latencies in buckets of 10 us, up to one second. */
#define BUCKET_US 10
#define BUCKETS 100000

static uint64_t sent_ns[MAX_SESSIONS];
static uint32_t histogram[BUCKETS];
static long sent, answered, missed;
static int sock, sessions;

static void fail(const char *what) {
  fprintf(stderr, "sessiond-load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void write_get(uint8_t *packet, uint32_t number) {
  memset(packet, 0, HEAD_BYTES);
  packet[0] = 1;
  packet[1] = 1;
  memcpy(packet + 4, &number, sizeof number);
  memset(packet + 8, 0x5a, ID_BYTES - 4);
}

static void receive(void) {
  uint8_t packet[1024];
  ssize_t length;
  while ((length = recv(sock, packet, sizeof packet, 0)) > 0) {
    uint32_t number;
    if (length < HEAD_BYTES) continue;
    memcpy(&number, packet + 4, sizeof number);
    if (number >= (uint32_t)sessions || sent_ns[number] == 0) continue;
    uint64_t bucket = (now_ns() - sent_ns[number]) / 1000 / BUCKET_US;
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    sent_ns[number] = 0;
    answered++;
    if (packet[1] != 0x81) missed++;
  }
}

static double percentile_us(double share) {
  uint64_t seen = 0;
  for (int bucket = 0; bucket < BUCKETS; bucket++) {
    seen += histogram[bucket];
    if (seen >= (uint64_t)(answered * share)) return (bucket + 1) * (double)BUCKET_US;
  }
  return BUCKETS * (double)BUCKET_US;
}

int main(int argc, char **argv) {
  if (argc != 6) return fprintf(stderr, "sessiond-load: wrong arguments\n"), 2;
  double rate = atof(argv[3]), seconds = atof(argv[4]);
  sessions = atoi(argv[5]);
  if (rate <= 0 || sessions < 1 || sessions > MAX_SESSIONS)
    return fprintf(stderr, "sessiond-load: argument out of bounds\n"), 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &address.sin_addr);
  sock = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(sock, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  fcntl(sock, F_SETFL, O_NONBLOCK);
  uint8_t packet[HEAD_BYTES];
  uint64_t seed = 88172645463325252ull, start_ns = now_ns();
  uint64_t end_ns = start_ns + (uint64_t)(seconds * 1e9);
  prctl(PR_SET_TIMERSLACK, 1);
  struct sched_param first = {.sched_priority = 1};
  sched_setscheduler(0, SCHED_FIFO, &first); /* Only root may; the others measure their own waiting, too. */
  for (uint64_t at_ns = start_ns; at_ns < end_ns; at_ns = now_ns()) {
    receive();
    uint64_t due_ns = start_ns + (uint64_t)((sent + 1) * 1e9 / rate);
    if (due_ns > at_ns) {
      struct timespec wait = {.tv_nsec = (due_ns - at_ns) % 1000000000};
      struct pollfd answers = {.fd = sock, .events = POLLIN};
      ppoll(&answers, 1, &wait, NULL);
      continue;
    }
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    uint32_t number = (uint32_t)(seed % (uint64_t)sessions);
    if (sent - answered >= sessions) return fprintf(stderr, "sessiond-load: no answers\n"), 1;
    /* One that is still being waited for would be mistaken for its own answer. */
    while (sent_ns[number] != 0) number = (number + 1) % sessions;
    sent_ns[number] = now_ns();
    sent++;
    write_get(packet, number);
    if (send(sock, packet, sizeof packet, 0) < 0) fail("send");
  }
  usleep(100000);
  receive();
  printf("{\"sent\":%ld,\"answered\":%ld,\"missed\":%ld,\"p50Us\":%.0f,\"p99Us\":%.0f,\"p999Us\":%.0f}\n",
         sent, answered, missed, percentile_us(0.5), percentile_us(0.99), percentile_us(0.999));
  return 0;
}
