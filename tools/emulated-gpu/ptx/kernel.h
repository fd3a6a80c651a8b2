// What a translated kernel's library offers the driver.
#pragma once

struct Size3 {
    unsigned x, y, z;

    unsigned long long count() const { return 1ull * x * y * z; }
};

struct Kernel {
    int parameters;
    // Bytes of each parameter.
    const unsigned *sizes;
    unsigned static_shared_bytes;
    // The most threads of a block that it was compiled for, 0 where it doesn't say.
    unsigned most_threads;
    void (*launch)(void **arguments, Size3 grid, Size3 block, unsigned dynamic_shared_bytes);
};
