// What the libraries check alike.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "device.h"
#include "say.h"

// Says what is wrong and answers the call with this status.
#define REFUSE(status, ...)  \
    do {                     \
        say(__VA_ARGS__);    \
        return status;       \
    } while (false)

static inline bool overlap(const void *a, size_t bytes_a, const void *b, size_t bytes_b) {
    const auto *const first_a = (const char *)a, *const first_b = (const char *)b;
    return bytes_a && bytes_b && first_a < first_b + bytes_b && first_b < first_a + bytes_a;
}

static inline bool is_aligned(const void *pointer, size_t bytes) { return uintptr_t(pointer) % bytes == 0; }

// Something that one thread at a time may use: whether this one may, until the end of the scope.
class Use {
  public:
    explicit Use(std::atomic<bool> &busy) : busy(busy), alone(!busy.exchange(true)) {}
    ~Use() {
        if (alone) {
            busy = false;
        }
    }
    Use(const Use &) = delete;

  private:
    std::atomic<bool> &busy;

  public:
    const bool alone;
};
