/* Put before the C library's: a disk that gives no file named golden.json as long as the file HELD is there. */

#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME "/golden.json"

static int when_let(const char *path, int flags, int mode) {
    size_t length = strlen(path), end = sizeof NAME - 1;
    if (length >= end && strcmp(path + length - end, NAME) == 0)
        while (access(HELD, F_OK) == 0)
            usleep(5000);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return when_let(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return when_let(path, flags, mode);
}
