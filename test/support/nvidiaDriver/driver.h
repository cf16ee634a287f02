/*
 * Asks the test what a call is to answer: one connection to the socket at SOCKET for each call. The question is one
 * line, the answer a result code (i32), a number (u32) and bytes up to the end. The thread of the call waits as long as
 * the test takes, so a test can answer late, wrongly or never.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ROOM 16384

typedef struct {
  int32_t code;
  uint32_t number;
  uint32_t length;
  unsigned char bytes[ROOM];
} answer_t;

static int read_all(int fd, void *buffer, size_t room) {
  size_t length = 0;
  while (length < room) {
    ssize_t got = read(fd, (char *)buffer + length, room - length);
    if (got <= 0) break;
    length += (size_t)got;
  }
  return (int)length;
}

static void ask(answer_t *answer, const char *question) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int32_t unknown = 999;
  memset(answer, 0, sizeof *answer);
  answer->code = unknown;
  strncpy(address.sun_path, SOCKET, sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
      write(fd, question, strlen(question)) == (ssize_t)strlen(question) &&
      read_all(fd, &answer->code, 4) == 4 && read_all(fd, &answer->number, 4) == 4) {
    answer->length = (uint32_t)read_all(fd, answer->bytes, ROOM);
  } else {
    answer->code = unknown;
  }
  close(fd);
}

static void copy(void *to, size_t room, const answer_t *answer) {
  memcpy(to, answer->bytes, answer->length < room ? answer->length : room);
}

static void hex(char *to, const unsigned char *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) sprintf(to + 2 * i, "%02x", bytes[i]);
}
