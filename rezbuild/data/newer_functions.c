/* Functions that glibc got after the version that a payload is built for. configure finds them, and
   programs use them. On an older host each does what programs do without it, or says ENOSYS.

   Each object that is linked has its own copy, which no other one sees. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <features.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define OWN __attribute__((visibility("hidden")))

#if !__GLIBC_PREREQ(2, 30)
/* sem_clockwait(3): without it, a wait with CLOCK_MONOTONIC hangs when the clock is set back. */
OWN int
sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    typedef int (*function)(sem_t *, clockid_t, const struct timespec *);
    function host = (function)dlsym(RTLD_DEFAULT, "sem_clockwait");
    struct timespec now, real;
    if (host != NULL) {
        return host(semaphore, clock, until);
    }
    if (clock != CLOCK_REALTIME) {
        if (clock_gettime(clock, &now) != 0 || clock_gettime(CLOCK_REALTIME, &real) != 0) {
            return -1;
        }
        real.tv_sec += until->tv_sec - now.tv_sec;
        real.tv_nsec += until->tv_nsec - now.tv_nsec;
        if (real.tv_nsec < 0) {
            real.tv_sec -= 1;
            real.tv_nsec += 1000000000;
        }
        else if (real.tv_nsec >= 1000000000) {
            real.tv_sec += 1;
            real.tv_nsec -= 1000000000;
        }
        until = &real;
    }
    return sem_timedwait(semaphore, until);
}
#endif

#if !__GLIBC_PREREQ(2, 34)
/* close_range(2), Linux 5.9 */
OWN int
close_range(unsigned int first, unsigned int last, int flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}
#endif

#if !__GLIBC_PREREQ(2, 38)
/* libgcov of gcc on newer hosts, which collects the counts for PGO, calls strtol by this name. */
OWN long
__isoc23_strtol(const char *text, char **end, int base)
{
    return strtol(text, end, base);
}
#endif
