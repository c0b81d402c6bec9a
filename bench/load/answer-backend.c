/*
 * The backend behind terminators that are measured: one byte for every connection, and its end.
 *
 *   answer-backend HOST PORT
 *
 * As little work as a backend can have, since it shares a processor with the load generator.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "answer-backend: wrong arguments\n"), 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 ||
      bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listener, BACKLOG) != 0)
    return perror("answer-backend"), 1;
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return perror("answer-backend: accept"), 1;
    }
    /* A client that is gone already has had its turn. */
    (void)!send(client, "x", 1, MSG_NOSIGNAL);
    close(client);
  }
}
