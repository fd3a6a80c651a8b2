// What translated kernels are made of. Blocks run one after another on each thread of the host; a block's lanes take
// turns, each running until it ends or reaches a barrier or a shuffle.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <omp.h>
#include <type_traits>
#include <vector>

#include "kernel.h"
#include "numbers.h"
#include "say.h"

// KERNEL_NAME is defined by the kernel that includes this.
#define FAIL(format, ...) DIE("kernel %s: " format, KERNEL_NAME, ##__VA_ARGS__)

// ---- Types. Bits without a meaning are unsigned.

using b8 = u8;
using b16 = u16;
using b32 = u32;
using b64 = u64;
using pred = bool;

struct bf16x2 {
    bf16 low, high;
};

inline bf16x2 operator+(bf16x2 a, bf16x2 b) { return {f32(a.low) + f32(b.low), f32(a.high) + f32(b.high)}; }
inline bf16x2 operator-(bf16x2 a, bf16x2 b) { return {f32(a.low) - f32(b.low), f32(a.high) - f32(b.high)}; }
inline bf16x2 operator*(bf16x2 a, bf16x2 b) { return {f32(a.low) * f32(b.low), f32(a.high) * f32(b.high)}; }

// The type of the product of mul.wide.
template <class T> struct Wide;
template <> struct Wide<s16> { using type = s32; };
template <> struct Wide<u16> { using type = u32; };
template <> struct Wide<s32> { using type = s64; };
template <> struct Wide<u32> { using type = u64; };
template <class T> using wide = typename Wide<T>::type;

// The value of a register or constant as an instruction of type T reads it; bf16 is computed with as f32.
template <class T, class Register> auto get(Register raw) {
    if constexpr (std::is_integral_v<T>) {
        return T(raw);
    } else {
        static_assert(sizeof(Register) >= sizeof(T), "a register too small for the type");
        T value;
        memcpy(&value, &raw, sizeof value);
        if constexpr (std::is_same_v<T, bf16>) {
            return f32(value);
        } else {
            return value;
        }
    }
}

// Writes a result of type T to a register, which may be wider: by the sign or by zeros, as T has one.
template <class T, class Register> void set(Register &to, T value) {
    if constexpr (std::is_integral_v<T>) {
        to = Register(value);
    } else {
        static_assert(sizeof(Register) >= sizeof(T), "a register too small for the type");
        to = 0;
        memcpy(&to, &value, sizeof value);
    }
}

// ---- Arithmetic that C++ has no operator for.

// Division by zero sets all bits on a GPU, and is no reason to stop.
template <class T> T quotient(T a, T b) {
    if (b == 0) {
        return T(-1);
    }
    return b == T(-1) && std::is_signed_v<T> ? T(0) - a : a / b;
}

template <class T> T remainder_of(T a, T b) {
    if (b == 0) {
        return a;
    }
    return b == T(-1) && std::is_signed_v<T> ? T(0) : a % b;
}

// Shifts by the width or more leave nothing but the sign.
template <class T> T shift_left(T a, u32 by) { return by < 8 * sizeof(T) ? T(a << by) : T(0); }

template <class T> T shift_right(T a, u32 by) {
    const u32 most = 8 * sizeof(T) - 1;
    return by <= most ? T(a >> by) : std::is_signed_v<T> ? T(a >> most) : T(0);
}

// Of a number and NaN the number.
template <class T> T smaller(T a, T b) { return a < b || b != b ? a : b; }
template <class T> T larger(T a, T b) { return a > b || b != b ? a : b; }
inline f32 smaller_or_nan(f32 a, f32 b) { return a != a ? a : b != b ? b : smaller(a, b); }
inline f32 larger_or_nan(f32 a, f32 b) { return a != a ? a : b != b ? b : larger(a, b); }

// To 0 .. 1; NaN becomes 0.
template <class T> T saturate(T a) { return a > 0 ? smaller(a, T(1)) : T(0); }

// An f64 that holds a result of f32's arithmetic, to f32 in another direction than to the nearest.
inline f32 round_down(f64 a) {
    const f32 nearest = f32(a);
    return nearest > a ? nextafterf(nearest, -INFINITY) : nearest;
}

inline f32 round_to_zero(f64 a) {
    const f32 nearest = f32(a);
    return std::fabs(nearest) > std::fabs(a) ? nextafterf(nearest, 0) : nearest;
}

// A whole number to the nearest that the type has; NaN becomes 0.
template <class T, class F> T to_integer(F a) {
    using Limits = std::numeric_limits<T>;
    // 2^bits, which F has, where it may not have the largest integer.
    const F end = std::ldexp(F(1), Limits::digits);
    if (a != a) {
        return 0;
    }
    return a >= end ? Limits::max() : a < F(Limits::min()) ? Limits::min() : T(a);
}

// ---- Memory. An address is the host's; in shared memory it is a place from its start.

struct Context {
    Size3 thread, threads, block, blocks;
    u8 *shared;
    u32 shared_bytes;
    const u8 *parameters;
};

inline u64 aligned(u64 address, u64 bytes) {
    if (address % bytes != 0) {
        FAIL("misaligned access: %llu bytes at %llx", (unsigned long long)bytes, (unsigned long long)address);
    }
    return address;
}

inline u64 in_shared(const Context &c, u64 place, u32 bytes) {
    // 32 bits of address: what lies before the start is far behind the end.
    const u64 first = u32(place);
    if (first + bytes > c.shared_bytes) {
        FAIL("shared memory out of bounds: %u bytes at %llu of %u", bytes, (unsigned long long)first, c.shared_bytes);
    }
    return u64(c.shared) + first;
}

template <class T> T load(u64 address) {
    T value;
    memcpy(&value, (const void *)address, sizeof value);
    return value;
}

template <class T> void store(u64 address, T value) { memcpy((void *)address, &value, sizeof value); }

// Adds to memory that other blocks may add to at the same time; says what was there.
template <class T> T atomic_add(u64 address, T value) {
    T *const place = (T *)address;
    T before, after;
    __atomic_load(place, &before, __ATOMIC_RELAXED);
    do {
        after = before + value;
    } while (!__atomic_compare_exchange(place, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return before;
}

[[noreturn]] inline void fail_assertion(u64 message, u64 file, u32 line) {
    FAIL("assertion failed: %s, %s:%u", (const char *)message, (const char *)file, line);
}

// ---- Lanes, warps and blocks.

enum class Outcome { RUNNING, ENDED, AT_BARRIER, AT_SHUFFLE };
enum class Shuffle { UP, DOWN, BUTTERFLY, INDEX };

// What every lane has beside its registers.
struct Lane {
    // Where it goes on: 0 at the start, else behind the barrier or shuffle of this number.
    int place = 0;
    Outcome outcome = Outcome::RUNNING;
    // The operands of the shuffle at which it stands, and its result.
    Shuffle shuffle;
    u32 given, other, clamp, mask;
    u32 received;
    bool in_range;
};

// The lane from which a lane of this number takes its value, or -1 where that is out of range: as the PTX manual
// describes shfl.sync.
inline int source_of(const Lane &lane, int number) {
    const int by = lane.other & 31, clamp = lane.clamp & 31, segment = lane.clamp >> 8 & 31;
    const int first = number & segment, last = first | (clamp & ~segment);
    int source = 0;
    switch (lane.shuffle) {
        case Shuffle::UP: source = number - by; return source >= last ? source : -1;
        case Shuffle::DOWN: source = number + by; break;
        case Shuffle::BUTTERFLY: source = number ^ by; break;
        case Shuffle::INDEX: source = first | (by & ~segment); break;
    }
    return source <= last ? source : -1;
}

// Lets the lanes of a warp that stand at a shuffle exchange their values, and go on.
template <class Thread> void exchange(Thread *warp, int lanes) {
    for (int i = 0; i < lanes; ++i) {
        Lane &lane = warp[i];
        if (lane.outcome != Outcome::AT_SHUFFLE) {
            continue;
        }
        int source = source_of(lane, i);
        lane.in_range = source >= 0;
        if (!lane.in_range) {
            source = i;
        }
        if (!(lane.mask >> source & 1)) {
            FAIL("shuffle of lane %d with lane %d, which is not in the mask %08x", i, source, lane.mask);
        }
        if (source >= lanes || warp[source].outcome != Outcome::AT_SHUFFLE || warp[source].place != lane.place) {
            FAIL("shuffle of lane %d with lane %d, which does not take part", i, source);
        }
        lane.received = warp[source].given;
    }
    for (int i = 0; i < lanes; ++i) {
        if (warp[i].outcome == Outcome::AT_SHUFFLE) {
            warp[i].outcome = Outcome::RUNNING;
        }
    }
}

inline Size3 place_in(u64 number, Size3 of) {
    return {u32(number % of.x), u32(number / of.x % of.y), u32(number / of.x / of.y)};
}

// Runs every lane of a warp until it has ended or waits at a barrier.
template <class Thread> void run_warp(Thread *warp, u32 first, int lanes, Context c) {
    bool shuffles;
    do {
        shuffles = false;
        for (int i = 0; i < lanes; ++i) {
            if (warp[i].outcome == Outcome::RUNNING) {
                c.thread = place_in(first + i, c.threads);
                warp[i].outcome = warp[i].run(c);
                shuffles |= warp[i].outcome == Outcome::AT_SHUFFLE;
            }
        }
        if (shuffles) {
            exchange(warp, lanes);
        }
    } while (shuffles);
}

// Lets all lanes of a block pass the barrier; false where all have ended.
template <class Thread> bool pass_barrier(std::vector<Thread> &lanes) {
    for (Thread &lane : lanes) {
        if (lane.outcome != lanes[0].outcome) {
            FAIL("a barrier that some threads of the block never reach");
        }
        if (lane.place != lanes[0].place && lane.outcome == Outcome::AT_BARRIER) {
            FAIL("threads of one block wait at different barriers");
        }
    }
    if (lanes[0].outcome == Outcome::ENDED) {
        return false;
    }
    for (Thread &lane : lanes) {
        lane.outcome = Outcome::RUNNING;
    }
    return true;
}

template <class Thread> void run_block(Context c) {
    const u32 count = u32(c.threads.count());
    if constexpr (Thread::WAITS) {
        std::vector<Thread> lanes(count);
        do {
            for (u32 first = 0; first < count; first += 32) {
                run_warp(&lanes[first], first, std::min(32u, count - first), c);
            }
        } while (pass_barrier(lanes));
    } else {
        for (u32 i = 0; i < count; ++i) {
            c.thread = place_in(i, c.threads);
            Thread().run(c);
        }
    }
}

template <class Thread>
void run_grid(Size3 grid, Size3 block, u32 shared_bytes, const u8 *parameters) {
    const u64 blocks = grid.count();
#pragma omp parallel if (blocks > 8)
    {
        // As aligned as shared memory is, and of NaN before each block.
        std::vector<u8> memory(shared_bytes + 128);
        u8 *const shared = memory.data() + (128 - u64(memory.data()) % 128);
#pragma omp for schedule(dynamic, 4)
        for (u64 i = 0; i < blocks; ++i) {
            memset(shared, 0xff, shared_bytes);
            run_block<Thread>({{}, block, place_in(i, grid), grid, shared, shared_bytes, parameters});
        }
    }
}
