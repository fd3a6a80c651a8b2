// What the parts of the emulated driver share.
#pragma once
#include <cuda.h>
#include <mutex>

#include "device.h"
#include "say.h"

// The driver does one thing at a time. A launch holds this until its kernel has ended.
using Lock = std::lock_guard<std::recursive_mutex>;
extern std::recursive_mutex driver_mutex;

// Begins to write down what is called, where that is asked for, and to explain bad addresses. Once.
void start_statistics();

// The bytes of the allocation that holds this address, 0 where none does.
size_t allocation_around(CUdeviceptr address);
// Where an address lies beside the nearest allocation, in words.
void describe_address(CUdeviceptr address, char *text, size_t size);
// Bytes allocated now, and the most there were at a time; how many allocations there are now, and were in all.
struct MemoryUse {
    size_t bytes, most_bytes, living, all;
};
MemoryUse memory_use();
