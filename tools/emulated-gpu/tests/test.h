// What the tests of the emulated GPU share.
#pragma once
#include <cmath>
#include <cuda.h>
#include <functional>
#include <random>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "numbers.h"

static int checks, failures;

static inline void expect(bool good, const std::string &what) {
    ++checks;
    if (!good) {
        ++failures;
        printf("FAILED: %s\n", what.c_str());
    }
}

static inline int summary(const char *of) {
    printf("%s: %d checks, %d failures\n", of, checks, failures);
    return failures != 0;
}

static inline f64 uniform() {
    static std::mt19937 generator(7);
    return std::uniform_real_distribution<f64>(-1, 1)(generator);
}

// An array on the device, which is memory of the host and can be used as such.
template <class T> struct Array {
    T *first;
    size_t count;

    explicit Array(size_t count) : count(count) {
        CUdeviceptr address = 0;
        expect(cuMemAlloc_v2(&address, count * sizeof(T)) == CUDA_SUCCESS, "an allocation");
        first = (T *)address;
    }
    ~Array() { cuMemFree_v2(CUdeviceptr(first)); }
    Array(const Array &) = delete;

    Array &fill() {
        for (size_t i = 0; i < count; ++i) {
            first[i] = T(uniform());
        }
        return *this;
    }
    T &operator[](size_t i) { return first[i]; }
};

// Runs it in a process of its own, and looks for these words in what that process says.
static inline void expect_said(const char *words, const std::function<void()> &run) {
    int ends[2];
    fflush(nullptr);
    if (pipe(ends) != 0) {
        expect(false, "a pipe");
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char buffer[512];
    for (ssize_t length; (length = read(ends[0], buffer, sizeof buffer)) > 0;) {
        said.append(buffer, size_t(length));
    }
    close(ends[0]);
    waitpid(child, nullptr, 0);
    expect(said.find(words) != std::string::npos, "to hear `" + std::string(words) + "`, not `" + said + "`");
}
