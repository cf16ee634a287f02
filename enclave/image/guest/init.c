/*
 * First process of the image: x86-64 Linux without a C library, so that system calls are all there is to it.
 *
 * The kernel, this program, the modules and the command line are measured (PCR 9 and 11) before they run. Everything
 * else comes from the host and is not trusted: disks, their partition tables, what stands in them. A disk that is not
 * the one of the command line fails at dm-verity; a command line with a word that is not known here starts nothing.
 * There is no shell: whatever fails prints `init: CODE: what` and powers the machine off.
 */

typedef unsigned char u8;
typedef unsigned long u64;
typedef unsigned int u32;

/* System calls (arch/x86/entry/syscalls/syscall_64.tbl). */
enum {
  SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_ioctl = 16, SYS_pread64 = 17, SYS_dup2 = 33,
  SYS_nanosleep = 35, SYS_execve = 59, SYS_chdir = 80, SYS_mkdir = 83, SYS_unlink = 87, SYS_mknod = 133,
  SYS_chroot = 161, SYS_mount = 165, SYS_reboot = 169, SYS_getdents64 = 217, SYS_finit_module = 313
};
enum { ENOENT = 2, ENXIO = 6, EEXIST = 17, ENODEV = 19 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_DIRECTORY = 0x10000, O_CLOEXEC = 0x80000 };
enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_MOVE = 8192 };

/* Arguments of C into the registers of a system call: the fourth is r10 there, and the number is rax. */
asm(".globl call\n"
    "call:\n"
    "  mov %rdi, %rax; mov %rsi, %rdi; mov %rdx, %rsi; mov %rcx, %rdx; mov %r8, %r10; mov %r9, %r8; xor %r9, %r9\n"
    "  syscall; ret\n");
long call(long number, const void *a, const void *b, const void *c, const void *d, const void *e);
#define NUMBER(value) ((const void *)(long)(value))
#define CALL1(n, a) call(n, NUMBER(a), 0, 0, 0, 0)
#define CALL2(n, a, b) call(n, NUMBER(a), NUMBER(b), 0, 0, 0)
#define CALL3(n, a, b, c) call(n, NUMBER(a), NUMBER(b), NUMBER(c), 0, 0)
#define CALL4(n, a, b, c, d) call(n, NUMBER(a), NUMBER(b), NUMBER(c), NUMBER(d), 0)
#define CALL5(n, a, b, c, d, e) call(n, NUMBER(a), NUMBER(b), NUMBER(c), NUMBER(d), NUMBER(e))

/* The compiler calls these two for structures, and always forwards. */
void *memset(void *target, int value, u64 size) {
  for (u64 i = 0; i < size; i++) ((u8 *)target)[i] = value;
  return target;
}

void *memmove(void *target, const void *source, u64 size) {
  for (u64 i = 0; i < size; i++) ((u8 *)target)[i] = ((const u8 *)source)[i];
  return target;
}

static u64 length(const char *text) {
  u64 size = 0;
  while (text[size]) size++;
  return size;
}

static int equal(const void *a, const void *b, u64 size) {
  u64 i = 0;
  while (i < size && ((const u8 *)a)[i] == ((const u8 *)b)[i]) i++;
  return i == size;
}

static int same(const char *a, const char *b) {
  return length(a) == length(b) && equal(a, b, length(a));
}

static int startsWith(const char *text, const char *start) {
  return length(text) >= length(start) && equal(text, start, length(start));
}

/* Ends a text at the next such character, and gives what follows it. */
static char *cut(char *text, char at) {
  while (*text && *text != at) text++;
  if (*text == 0) return text;
  *text = 0;
  return text + 1;
}

static void print(const char *text) { CALL3(SYS_write, 1, text, length(text)); }

static void sleepMilliseconds(long milliseconds) {
  long time[2] = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
  CALL2(SYS_nanosleep, time, 0);
}

static void stop(const char *code, const char *what) {
  const char *const PARTS[] = { "init: ", code, ": ", what, "\n" };
  for (int i = 0; i < 5; i++) print(PARTS[i]);
  CALL3(SYS_ioctl, 1, 0x5409 /* TCSBRK: what was written has left */, 1);
  CALL4(SYS_reboot, 0xfee1deadL, 672274793, 0x4321fedc /* POWER_OFF */, 0);
  for (;;) sleepMilliseconds(1000);
}

struct text { char at[1024]; u64 size; };

static struct text joined(const char *const *parts) {
  struct text text = { "", 0 };
  for (; *parts; parts++) {
    u64 size = length(*parts);
    if (text.size + size >= sizeof text.at) stop("INIT_INTERNAL", "a text is too long");
    memmove(text.at + text.size, *parts, size + 1);
    text.size += size;
  }
  return text;
}
#define JOINED(...) joined((const char *const[]){ __VA_ARGS__, 0 })

static void mountAt(const char *source, const char *target, const char *type, long flags, const char *options) {
  if (CALL5(SYS_mount, source, target, type, flags, options) < 0) stop("INIT_MOUNT", target);
}

/* Bytes of a file up to the size of the buffer, with a NUL behind them; negative where it cannot be read. */
static long readFile(const char *path, char *buffer, long size) {
  long file = CALL3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0), filled = 0, count = 0;
  if (file < 0) return file;
  while (filled < size - 1 && (count = CALL3(SYS_read, file, buffer + filled, size - 1 - filled)) > 0) filled += count;
  CALL1(SYS_close, file);
  if (count < 0) return count;
  buffer[filled] = 0;
  return filled;
}

static void writeFile(const char *path, const char *content) {
  long file = CALL3(SYS_open, path, O_WRONLY | O_CLOEXEC, 0);
  if (file < 0 || CALL3(SYS_write, file, content, length(content)) < 0) stop("INIT_SETTING", path);
  CALL1(SYS_close, file);
}

/*
 * The command line. Without secure boot the host can add words (load options, SMBIOS strings, files on the ESP). The
 * verifier sees them in PCR 9 and 12; that nothing runs under them needs no verifier.
 */

static const char *const KERNEL_WORDS[] = {
  "console=ttyS0", "panic=-1", "quiet", "loglevel=4", "ro", "lockdown=integrity", "lockdown=confidentiality",
  "module.sig_enforce=1", "random.trust_bootloader=off", "tpm_tis.interrupts=0",
  "initrd=initrd", /* Firmware adds it where the host hands in kernel and initrd (FORMATS of direct boot). */
};
enum { KERNEL_WORD_COUNT = sizeof KERNEL_WORDS / sizeof *KERNEL_WORDS };

/* `<PARTUUID>,<PARTUUID of the tree>,<root hash>,<blocks of 4096 bytes>,<salt>`: all that dm-verity is told. */
struct volume {
  int isGiven;
  char data[37], tree[37], rootHash[65], blocks[11], salt[65];
};

#define X16 "xxxxxxxxxxxxxxxx"
static const char UUID_FORM[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", HASH_FORM[] = X16 X16 X16 X16;

/* A field of this form (x is a lower-case hex digit) and what ends it; what follows, or the machine stops. */
static const char *takeForm(const char *from, char *to, const char *form, char end) {
  for (; *form; form++, from++) {
    int isHex = (*from >= '0' && *from <= '9') || (*from >= 'a' && *from <= 'f');
    if (*form == 'x' ? !isHex : *from != *form) stop("INIT_COMMAND_LINE", "a volume has a field of another form");
    *to++ = *from;
  }
  if (*from != end) stop("INIT_COMMAND_LINE", "a volume has a field of another length");
  return end ? from + 1 : from;
}

/* A number of up to ten digits, and the comma behind it. */
static const char *takeCount(const char *from, char *to) {
  int digits = 0;
  while (from[digits] >= '0' && from[digits] <= '9' && digits < 11) digits++;
  if (digits < 1 || digits > 10 || *from == '0' || from[digits] != ',') stop("INIT_COMMAND_LINE", "blocks of a volume");
  memmove(to, from, digits);
  return from + digits + 1;
}

static void parseVolume(const char *value, struct volume *volume) {
  if (volume->isGiven) stop("INIT_COMMAND_LINE", "a volume is named twice");
  volume->isGiven = 1;
  value = takeForm(value, volume->data, UUID_FORM, ',');
  value = takeForm(value, volume->tree, UUID_FORM, ',');
  value = takeForm(value, volume->rootHash, HASH_FORM, ',');
  value = takeCount(value, volume->blocks);
  takeForm(value, volume->salt, HASH_FORM, 0);
}

static void takeWord(const char *word, struct volume *root, struct volume *models) {
  static u8 seen[KERNEL_WORD_COUNT];
  if (startsWith(word, "vouchsafe.root=")) return parseVolume(word + 15, root);
  if (startsWith(word, "vouchsafe.models=")) return parseVolume(word + 17, models);
  for (int i = 0; i < KERNEL_WORD_COUNT; i++) {
    if (same(word, KERNEL_WORDS[i]) && !seen[i]++) return;
  }
  stop("INIT_COMMAND_LINE", word);
}

static void parseCommandLine(struct volume *root, struct volume *models) {
  static char line[2050]; /* COMMAND_LINE_SIZE is 2048. */
  long size = readFile("/proc/cmdline", line, sizeof line);
  if (size < 1 || size > 2048 || line[size - 1] != '\n') stop("INIT_COMMAND_LINE", "cannot be read whole");
  line[size - 1] = ' ';
  for (char *word = line, *rest; *word; word = rest) {
    rest = cut(word, ' ');
    if (*word) takeWord(word, root, models);
  }
  if (!root->isGiven) stop("INIT_COMMAND_LINE", "vouchsafe.root is missing");
}

/* Modules: as the distribution compressed and signed them, in an order in which each finds what it needs. */

static void loadModule(const char *name) {
  struct text path = JOINED("/modules/", name);
  int isCompressed = path.size > 3 && same(path.at + path.size - 3, ".xz");
  long file = CALL3(SYS_open, path.at, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) stop("INIT_MODULE", name);
  long error = CALL3(SYS_finit_module, file, "", isCompressed ? 4 /* MODULE_INIT_COMPRESSED_FILE */ : 0);
  CALL1(SYS_close, file);
  CALL1(SYS_unlink, path.at);
  /* Drivers say these on a machine that has not got their device; ENOENT says who needs a driver that said so. */
  if (error < 0 && error != -ENODEV && error != -ENXIO && error != -EEXIST && error != -ENOENT) {
    stop("INIT_MODULE", name);
  }
}

static void loadModules(void) {
  static char order[8192];
  long size = readFile("/modules/order", order, sizeof order);
  if (size < 0 || size == sizeof order - 1) stop("INIT_MODULE", "/modules/order cannot be read whole");
  for (char *name = order, *rest; *name; name = rest) {
    rest = cut(name, '\n');
    loadModule(name);
  }
  CALL1(SYS_unlink, "/modules/order");
}

/* Partitions, by the table that the kernel reads as well: entry n of a GPT is its partition n + 1 (UEFI 2.10, 5.3). */

enum { GPT_ENTRY_BYTES = 128, GPT_MAX_ENTRIES = 128 };
static int hexValue(char digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

/* GUIDs store their first three groups with the lowest byte first. */
static void guidBytes(const char *uuid, u8 *guid) {
  static const u8 POSITIONS[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
  for (int i = 0; i < 16; i++) {
    if (*uuid == '-') uuid++;
    guid[POSITIONS[i]] = hexValue(uuid[0]) << 4 | hexValue(uuid[1]);
    uuid += 2;
  }
}

/* Number of the partition in the table of a disk; 0 where it is not there. */
static int partitionNumber(long disk, const u8 *guid, long blockBytes) {
  static u8 header[92], entries[GPT_ENTRY_BYTES * GPT_MAX_ENTRIES];
  if (CALL4(SYS_pread64, disk, header, sizeof header, blockBytes) != sizeof header) return 0;
  u64 start = *(u64 *)(header + 72);
  u32 count = *(u32 *)(header + 80), size = *(u32 *)(header + 84);
  if (!equal(header, "EFI PART", 8) || size != GPT_ENTRY_BYTES || count > GPT_MAX_ENTRIES || start > 4096) return 0;
  long bytes = (long)count * size;
  if (CALL4(SYS_pread64, disk, entries, bytes, start * blockBytes) != bytes) return 0;
  for (u32 i = 0; i < count; i++) {
    if (equal(entries + i * size + 16, guid, 16)) return i + 1;
  }
  return 0;
}

/* `major:minor` of the partition of a disk, as the kernel shows it; 0 where this disk has not got it. */
static int partitionOf(const char *disk, const u8 *guid, struct text *device) {
  struct text path = JOINED("/dev/", disk);
  long file = CALL3(SYS_open, path.at, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  int number = partitionNumber(file, guid, 512);
  if (number == 0) number = partitionNumber(file, guid, 4096); /* bytes of a block */
  if (CALL1(SYS_close, file) < 0 || number == 0) return 0;
  char last = disk[length(disk) - 1], digits[4] = { '0' + number / 100, '0' + number / 10 % 10, '0' + number % 10, 0 };
  const char *text = digits + (number < 100) + (number < 10);
  path = JOINED("/sys/class/block/", disk, last >= '0' && last <= '9' ? "p" : "", text, "/dev");
  long size = readFile(path.at, device->at, 32);
  if (size < 2) return 0;
  device->size = size - 1;
  device->at[device->size] = 0;
  return 1;
}

static int searchDisks(const u8 *guid, struct text *device) {
  static char names[4096];
  long folder = CALL3(SYS_open, "/sys/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), size;
  int isFound = 0;
  while (!isFound && (size = CALL3(SYS_getdents64, folder, names, sizeof names)) > 0) {
    /* struct linux_dirent64: u16 length at 16, name at 19. */
    for (long at = 0; at < size && !isFound; at += *(unsigned short *)(names + at + 16)) {
      if (names[at + 19] != '.') isFound = partitionOf(names + at + 19, guid, device);
    }
  }
  CALL1(SYS_close, folder);
  return isFound;
}

/* Disks come up while we run: 30 seconds are longer than any takes. */
static struct text findPartition(const char *uuid) {
  static u8 guid[16];
  struct text device;
  guidBytes(uuid, guid);
  for (int i = 0; i < 600; i++) {
    if (searchDisks(guid, &device)) return device;
    sleepMilliseconds(50);
  }
  stop("INIT_PARTITION", uuid);
  return device;
}

/* dm-verity (Documentation/admin-guide/device-mapper/verity.rst): one table of one target. */

struct dmRequest {
  u32 version[3], bytes, dataStart, targetCount, openCount, flags, eventNumber, padding;
  u64 device;
  char name[128], uuid[129], unused[7];
  /* struct dm_target_spec and its parameters. */
  u64 firstSector, sectors;
  u32 status, next;
  char target[16];
  char parameters[1024];
};
enum { DM_DEV_CREATE = 3, DM_DEV_SUSPEND = 6, DM_TABLE_LOAD = 9, DM_READONLY = 1 };

static void dmCall(long control, int command, struct dmRequest *request, const char *name) {
  request->version[0] = 4;
  request->bytes = sizeof *request;
  request->dataStart = 312; /* sizeof(struct dm_ioctl) */
  memmove(request->name, name, length(name) + 1);
  /* _IOWR(0xfd, command, struct dm_ioctl) */
  if (CALL3(SYS_ioctl, control, 0xc138fd00L | command, request) < 0) stop("INIT_VERITY", name);
}

/*
 * The superblock in block 0 of the tree is not read: all parameters are those of the command line. Whoever altered a
 * block that is read stops the machine: an answer made of altered code or weights is never given.
 */
static struct text verityTable(const struct volume *volume) {
  struct text data = findPartition(volume->data), tree = findPartition(volume->tree);
  return JOINED("1 ", data.at, " ", tree.at, " 4096 4096 ", volume->blocks, " 1 sha256 ", volume->rootHash, " ",
                volume->salt, " 1 panic_on_corruption");
}

static void mountVerity(const struct volume *volume, const char *name, const char *target, long flags) {
  static struct dmRequest request;
  struct text table = verityTable(volume), node = JOINED("/", name);
  long control = CALL3(SYS_open, "/dev/mapper/control", O_RDWR | O_CLOEXEC, 0);
  if (control < 0) stop("INIT_VERITY", "/dev/mapper/control");
  memset(&request, 0, sizeof request);
  dmCall(control, DM_DEV_CREATE, &request, name);
  u64 device = request.device;
  memset(&request, 0, sizeof request);
  request.flags = DM_READONLY;
  request.targetCount = 1;
  for (const char *digit = volume->blocks; *digit; digit++) request.sectors = request.sectors * 10 + *digit - '0';
  request.sectors *= 8;
  memmove(request.target, "verity", 7);
  memmove(request.parameters, table.at, table.size + 1);
  dmCall(control, DM_TABLE_LOAD, &request, name);
  memset(&request, 0, sizeof request);
  dmCall(control, DM_DEV_SUSPEND, &request, name); /* Without the flag to suspend it resumes: the table is in use. */
  CALL1(SYS_close, control);
  if (CALL3(SYS_mknod, node.at, 0060400 /* block device, owner reads */, device) < 0) stop("INIT_VERITY", node.at);
  mountAt(node.at, target, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV | flags, "");
}

static void openConsole(void) {
  long console = CALL3(SYS_open, "/dev/console", O_RDWR, 0);
  for (int file = 0; console >= 0 && file < 3; file++) CALL2(SYS_dup2, console, file);
  if (console > 2) CALL1(SYS_close, console);
}

static void switchRoot(void) {
  static const char *const KEPT[] = { "/dev", "/proc", "/sys" };
  for (int i = 0; i < 3; i++) {
    struct text target = JOINED("/root", KEPT[i]);
    mountAt(KEPT[i], target.at, 0, MS_MOVE, 0);
  }
  CALL1(SYS_unlink, "/init");
  if (CALL1(SYS_chdir, "/root") < 0) stop("INIT_ROOT", "chdir");
  mountAt(".", "/", 0, MS_MOVE, 0);
  if (CALL1(SYS_chroot, ".") < 0 || CALL1(SYS_chdir, "/") < 0) stop("INIT_ROOT", "chroot");
}

void _start(void) {
  static const char *const ARGUMENTS[] = { "node", "/app/dist/enclave/image/guest/main.js", 0 };
  static const char *const ENVIRONMENT[] = { "PATH=/usr/bin", "HOME=/data", 0 };
  static struct volume root, models;
  const long tmpfs = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mountAt("dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755");
  openConsole();
  mountAt("proc", "/proc", "proc", tmpfs, "");
  mountAt("sys", "/sys", "sysfs", tmpfs, "");
  parseCommandLine(&root, &models);
  loadModules();
  /* Until the next boot the kernel takes neither another module nor another kernel, from anyone. */
  writeFile("/proc/sys/kernel/modules_disabled", "1");
  writeFile("/proc/sys/kernel/kexec_load_disabled", "1");
  mountVerity(&root, "vouchsafe-root", "/root", 0);
  if (models.isGiven) mountVerity(&models, "vouchsafe-models", "/root/models", MS_NOEXEC);
  mountAt("run", "/root/run", "tmpfs", tmpfs, "mode=0755,size=16m");
  mountAt("tmp", "/root/tmp", "tmpfs", tmpfs, "mode=1777,size=64m");
  mountAt("data", "/root/data", "tmpfs", tmpfs, "mode=0700,size=25%");
  switchRoot();
  CALL3(SYS_execve, "/usr/bin/node", ARGUMENTS, ENVIRONMENT);
  stop("INIT_EXEC", "/usr/bin/node");
}
