/* Records what a process does to the files under a folder, in order, for benchmarks/powerloss.py:
 * LD_PRELOADed, with POWERLOSS_ROOT and POWERLOSS_LOG set. Each record is
 * op (1 byte), length of path (4), offset (8), length of data (4), path, data; little-endian.
 * w write, t truncate, f fsync of a file or folder, c file made, m folder made, r rename, l link,
 * u unlink or rmdir. SQLite's -shm is left out: it is rebuilt after a loss of power. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 4096
static char *paths[FDS];
static int appends[FDS];
static int out = -1;
static const char *root;
static size_t root_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    root = getenv("POWERLOSS_ROOT");
    const char *log = getenv("POWERLOSS_LOG");
    if (!root || !log) return;
    root_length = strlen(root);
    out = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
}

static int ours(const char *path) {
    size_t n = strlen(path);
    return out >= 0 && !strncmp(path, root, root_length)
        && !(n > 4 && !strcmp(path + n - 4, "-shm"));
}

static void whole(int dir, const char *path, char *to) {
    if (path[0] == '/') { snprintf(to, PATH_MAX, "%s", path); return; }
    char link[64], base[PATH_MAX];
    if (dir == AT_FDCWD) { if (!getcwd(base, sizeof base)) base[0] = 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t n = readlink(link, base, sizeof base - 1);
        base[n < 0 ? 0 : n] = 0;
    }
    snprintf(to, PATH_MAX, "%s/%s", base, path);
}

static void record(char op, const char *path, uint64_t offset, const void *data, uint32_t size) {
    uint32_t length = strlen(path);
    char head[17];
    head[0] = op;
    memcpy(head + 1, &length, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &size, 4);
    pthread_mutex_lock(&lock);
    syscall(SYS_write, out, head, sizeof head);
    syscall(SYS_write, out, path, length);
    if (size) syscall(SYS_write, out, data, size);
    pthread_mutex_unlock(&lock);
}

static int opened(int fd, int dir, const char *path, int flags, int was) {
    if (fd < 0 || fd >= FDS) return fd;
    char full[PATH_MAX];
    whole(dir, path, full);
    free(paths[fd]);
    paths[fd] = ours(full) ? strdup(full) : NULL;
    appends[fd] = flags & O_APPEND;
    if (paths[fd] && !was && (flags & O_CREAT)) record('c', full, 0, NULL, 0);
    if (paths[fd] && was && (flags & O_TRUNC)) record('t', full, 0, NULL, 0);
    return fd;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        va_list more; va_start(more, flags);                                        \
        mode_t mode = va_arg(more, mode_t); va_end(more);                           \
        int was = out >= 0 && !faccessat(AT_FDCWD, path, F_OK, 0);                  \
        return opened(REAL(name)(path, flags, mode), AT_FDCWD, path, flags, was);   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                \
    int name(int dir, const char *path, int flags, ...) {                           \
        va_list more; va_start(more, flags);                                        \
        mode_t mode = va_arg(more, mode_t); va_end(more);                           \
        int was = out >= 0 && !faccessat(dir, path, F_OK, 0);                       \
        return opened(REAL(name)(dir, path, flags, mode), dir, path, flags, was);   \
    }
OPENAT(openat)
OPENAT(openat64)

static const char *known(int fd) { return fd >= 0 && fd < FDS ? paths[fd] : NULL; }

int close(int fd) {
    if (known(fd)) { free(paths[fd]); paths[fd] = NULL; }
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    struct stat about;
    uint64_t at = 0;
    if (known(fd)) {
        if (appends[fd] && !fstat(fd, &about)) at = about.st_size;
        else at = lseek(fd, 0, SEEK_CUR);
    }
    ssize_t n = REAL(write)(fd, data, size);
    if (n > 0 && known(fd)) record('w', paths[fd], at, data, n);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    ssize_t n = REAL(pwrite)(fd, data, size, at);
    if (n > 0 && known(fd)) record('w', paths[fd], at, data, n);
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t n = REAL(pwrite64)(fd, data, size, at);
    if (n > 0 && known(fd)) record('w', paths[fd], at, data, n);
    return n;
}

#define TRUNCATE(name, type)                                                \
    int name(int fd, type size) {                                           \
        int n = REAL(name)(fd, size);                                       \
        if (!n && known(fd)) record('t', paths[fd], size, NULL, 0);         \
        return n;                                                           \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                          \
    int name(int fd) {                                                      \
        int n = REAL(name)(fd);                                             \
        if (!n && known(fd)) record('f', paths[fd], 0, NULL, 0);            \
        return n;                                                           \
    }
SYNC(fsync)
SYNC(fdatasync)

static int two(int n, char op, int d1, const char *a, int d2, const char *b) {
    char from[PATH_MAX], to[PATH_MAX];
    if (n) return n;
    whole(d1, a, from);
    whole(d2, b, to);
    if (!ours(from) || !ours(to)) return n;
    record(op, from, 0, to, strlen(to));
    if (op == 'r')
        for (int fd = 0; fd < FDS; fd++) {
            size_t length = strlen(from);
            char moved[PATH_MAX];
            if (!paths[fd] || strncmp(paths[fd], from, length)) continue;
            if (paths[fd][length] && paths[fd][length] != '/') continue;
            snprintf(moved, PATH_MAX, "%s%s", to, paths[fd] + length);
            free(paths[fd]);
            paths[fd] = strdup(moved);
        }
    return n;
}

int rename(const char *a, const char *b) {
    return two(REAL(rename)(a, b), 'r', AT_FDCWD, a, AT_FDCWD, b);
}
int renameat(int d, const char *a, int e, const char *b) {
    return two(REAL(renameat)(d, a, e, b), 'r', d, a, e, b);
}
int link(const char *a, const char *b) {
    return two(REAL(link)(a, b), 'l', AT_FDCWD, a, AT_FDCWD, b);
}
int linkat(int d, const char *a, int e, const char *b, int flags) {
    return two(REAL(linkat)(d, a, e, b, flags), 'l', d, a, e, b);
}

static int one(int n, char op, int dir, const char *path) {
    char full[PATH_MAX];
    if (n) return n;
    whole(dir, path, full);
    if (ours(full)) record(op, full, 0, NULL, 0);
    return n;
}

int mkdir(const char *path, mode_t mode) {
    return one(REAL(mkdir)(path, mode), 'm', AT_FDCWD, path);
}
int mkdirat(int d, const char *path, mode_t mode) {
    return one(REAL(mkdirat)(d, path, mode), 'm', d, path);
}
int unlink(const char *path) { return one(REAL(unlink)(path), 'u', AT_FDCWD, path); }
int rmdir(const char *path) { return one(REAL(rmdir)(path), 'u', AT_FDCWD, path); }
int unlinkat(int d, const char *path, int flags) {
    return one(REAL(unlinkat)(d, path, flags), 'u', d, path);
}
