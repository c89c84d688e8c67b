/* Put before the C library's: a disk that takes SECONDS to sync. */

#define _DEFAULT_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

static int slowly(long call, int file) {
    sleep(SECONDS);
    return (int)syscall(call, file);
}

int fsync(int file) { return slowly(SYS_fsync, file); }

int fdatasync(int file) { return slowly(SYS_fdatasync, file); }
