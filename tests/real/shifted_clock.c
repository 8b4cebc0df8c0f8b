/* A machine whose clock is wrong by some seconds; the clock that cannot be set is right. Preloaded. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *shift = getenv("CLOCK_SHIFT_S");
    int failed = real(clock, at);

    if (!failed && shift && clock == CLOCK_REALTIME)
        at->tv_sec += atol(shift);
    return failed;
}
