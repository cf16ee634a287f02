// A C library whose ioctl() is answered by the test process, and whose vsock sockets lead to Unix sockets.
// Built with -DFOLDER="..."; everything else comes from the C library that it is linked with.
//
// ioctl() sends to FOLDER/ioctl: u32 request, u32 count, then count blocks of u32 length and bytes, the argument
// first and then what it points to. The answer is u32 errno and the same blocks, copied back where errno is 0 or not,
// as a driver may do. A connection answers one call.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define VSOCK 40
#define MAX_BLOCKS 4

struct block {
  void *memory;
  uint32_t length;
};

static int transfer(int fd, void *memory, size_t length, int writing) {
  char *at = memory;
  while (length > 0) {
    ssize_t done = writing ? write(fd, at, length) : read(fd, at, length);
    if (done <= 0) return -1;
    at += done;
    length -= (size_t)done;
  }
  return 0;
}

static int to_unix(int fd, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", FOLDER, name);
  return (int)syscall(SYS_connect, fd, &address, sizeof address);
}

static uint64_t u64_at(const void *memory, size_t offset) {
  uint64_t value;
  memcpy(&value, (const char *)memory + offset, sizeof value);
  return value;
}

static void *pointer_at(const void *memory, size_t offset) {
  return (void *)(uintptr_t)u64_at(memory, offset);
}

// Where the structures of a request lie, as its driver finds them.
static int gather(unsigned long request, void *argument, struct block *blocks) {
  int count = 0;
  blocks[count++] = (struct block){argument, (uint32_t)((request >> 16) & 0x3fff)};
  if (request == 0xc0205300) {
    blocks[count++] = (struct block){pointer_at(argument, 8), 96};
    blocks[count++] = (struct block){pointer_at(argument, 16), 4000};
  } else if (request == 0xc0205302) {
    void *ask = pointer_at(argument, 8);
    blocks[count++] = (struct block){ask, 112};
    blocks[count++] = (struct block){pointer_at(argument, 16), 4000};
    blocks[count++] = (struct block){pointer_at(ask, 96), (uint32_t)u64_at(ask, 104)};
  } else if (request == 0xc0200a00) {
    blocks[count++] = (struct block){pointer_at(argument, 0), (uint32_t)u64_at(argument, 8)};
    blocks[count++] = (struct block){pointer_at(argument, 16), (uint32_t)u64_at(argument, 24)};
  }
  return count;
}

static uint32_t exchange(int fd, unsigned long request, struct block *blocks, uint32_t count) {
  uint32_t head[2] = {(uint32_t)request, count};
  if (to_unix(fd, "ioctl") != 0 || transfer(fd, head, sizeof head, 1) != 0) return EPROTO;
  for (uint32_t i = 0; i < count; i++) {
    if (transfer(fd, &blocks[i].length, sizeof(uint32_t), 1) != 0) return EPROTO;
    if (transfer(fd, blocks[i].memory, blocks[i].length, 1) != 0) return EPROTO;
  }
  uint32_t result;
  if (transfer(fd, &result, sizeof result, 0) != 0) return EPROTO;
  for (uint32_t i = 0; i < count; i++) {
    if (transfer(fd, blocks[i].memory, blocks[i].length, 0) != 0) return EPROTO;
  }
  return result;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (lseek(fd, 0, SEEK_CUR) < 0 && errno == EBADF) return -1;
  struct block blocks[MAX_BLOCKS];
  int count = gather(request, argument, blocks);
  int line = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (line < 0) return -1;
  uint32_t result = exchange(line, request, blocks, (uint32_t)count);
  close(line);
  if (result == 0) return 0;
  errno = (int)result;
  return -1;
}

int socket(int domain, int type, int protocol) {
  return (int)syscall(SYS_socket, domain == VSOCK ? AF_UNIX : domain, type, protocol);
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  if (address->sa_family != VSOCK) return (int)syscall(SYS_connect, fd, address, length);
  // struct sockaddr_vm of linux/vm_sockets.h.
  uint32_t port, cid;
  uint16_t reserved;
  if (length != 16) {
    errno = EINVAL;
    return -1;
  }
  memcpy(&reserved, (const char *)address + 2, sizeof reserved);
  memcpy(&port, (const char *)address + 4, sizeof port);
  memcpy(&cid, (const char *)address + 8, sizeof cid);
  if (reserved != 0) {
    errno = EINVAL;
    return -1;
  }
  char name[40];
  snprintf(name, sizeof name, "vsock-%u-%u", cid, port);
  return to_unix(fd, name);
}
