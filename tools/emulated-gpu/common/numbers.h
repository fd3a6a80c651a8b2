// Numbers by PTX's names for them.
#pragma once
#include <cstdint>
#include <cstring>

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using f32 = float;
using f64 = double;

// The upper half of an f32. Written to the nearest, from halfway to the even one; NaN stays NaN.
struct bf16 {
    u16 bits;

    bf16() = default;

    bf16(f32 value) {
        u32 whole;
        memcpy(&whole, &value, sizeof whole);
        if (value != value) {
            bits = u16((whole >> 16) | 0x40);
        } else {
            bits = u16((whole + 0x7fff + ((whole >> 16) & 1)) >> 16);
        }
    }

    operator f32() const {
        const u32 whole = u32(bits) << 16;
        f32 value;
        memcpy(&value, &whole, sizeof value);
        return value;
    }
};
