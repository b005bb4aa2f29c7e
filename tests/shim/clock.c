/* A wall clock that is set while the gate runs. Preloaded into it by tests/faults (LD_PRELOAD).
 *
 * WATTSTILE_CLOCK names a file. While it is there, it holds a number of seconds, and the wall clock is off by so many. The
 * monotonic clock is left alone, as the kernel leaves it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long off_by(void)
{
    const char *order = getenv("WATTSTILE_CLOCK");
    char text[32] = {0};
    int saved = errno, fd;
    long seconds = 0;
    if (order && (fd = open(order, O_RDONLY)) >= 0) {
        if (read(fd, text, sizeof text - 1) > 0)
            seconds = atol(text);
        close(fd);
    }
    errno = saved;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, at);
    if (outcome == 0 && clock == CLOCK_REALTIME)
        at->tv_sec += off_by();
    return outcome;
}
