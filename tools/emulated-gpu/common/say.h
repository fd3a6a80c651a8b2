// What is found wrong goes to standard error, in lines that begin alike.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "EMULATED GPU: %s\n", text);
}

// Says it and ends the process; for what a real GPU would answer by spoiling the context or by silent nonsense.
#define DIE(...) (say(__VA_ARGS__), fflush(stderr), abort())
