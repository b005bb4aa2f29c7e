/* A disk that fails, or is slow, on demand. Preloaded into the gate by tests/faults (LD_PRELOAD).
 *
 * WATTSTILE_FAULT names a file. While it is there, it holds "sync ERRNO" or "write ERRNO", and these calls fail with that
 * number for files below WATTSTILE_FAULT_BELOW; with "sync -MS" they take so many milliseconds more. Everything else goes
 * through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, const char *what)
{
    const char *order = getenv("WATTSTILE_FAULT"), *below = getenv("WATTSTILE_FAULT_BELOW");
    char text[64] = {0}, link[64], path[4096] = {0}, call[16] = {0};
    int number = 0, order_fd, saved = errno;
    if (!order || !below || (order_fd = open(order, O_RDONLY)) < 0) {
        errno = saved;
        return 0;
    }
    ssize_t length = read(order_fd, text, sizeof text - 1);
    close(order_fd);
    if (length <= 0 || sscanf(text, "%15s %d", call, &number) != 2 || strcmp(call, what) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) <= 0 || strncmp(path, below, strlen(below)) != 0)
        return 0;
    if (number < 0) {
        usleep((useconds_t)-number * 1000);
        errno = saved;
        return 0;
    }
    errno = number;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(fsync); return fails(fd, "sync") ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd, "sync") ? -1 : real(fd); }
int sync_file_range(int fd, off64_t from, off64_t length, unsigned flags)
{
    REAL(sync_file_range);
    return fails(fd, "sync") ? -1 : real(fd, from, length, flags);
}
ssize_t write(int fd, const void *bytes, size_t length)
{
    REAL(write);
    return fails(fd, "write") ? -1 : real(fd, bytes, length);
}
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    REAL(writev);
    return fails(fd, "write") ? -1 : real(fd, pieces, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    REAL(pwrite);
    return fails(fd, "write") ? -1 : real(fd, bytes, length, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    REAL(pwrite64);
    return fails(fd, "write") ? -1 : real(fd, bytes, length, at);
}
