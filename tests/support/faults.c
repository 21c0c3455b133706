/* A library for LD_PRELOAD that simulates faults of system calls.
 *
 * NO_LOCKS=PATH      flock(2) of files below PATH fails with the error number NO_LOCKS_ERROR
 * CLOCK_OFFSET=FILE  the clock is wrong by the seconds in FILE, which is read at each call */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int flock(int fd, int operation)
{
    const char *below = getenv("NO_LOCKS");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = below ? readlink(link, path, sizeof path) : -1;
    if (length >= (ssize_t)strlen(below ? below : "") && !strncmp(path, below, strlen(below))) {
        errno = atoi(getenv("NO_LOCKS_ERROR"));
        return -1;
    }
    return syscall(SYS_flock, fd, operation);
}

static long offset(void)
{
    const char *file = getenv("CLOCK_OFFSET");
    int before = errno, fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    char text[32] = "0";
    if (fd >= 0) {
        ssize_t length = read(fd, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(fd);
    }
    errno = before;
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec found;
    int failed = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *place)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return place ? *place = now.tv_sec : now.tv_sec;
}
