// Device memory is host memory. Each allocation ends at a page that can't be touched (but for what aligning it leaves),
// begins as NaN, and has around it bytes that are looked at when it is freed.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>

#include "driver.h"

namespace {

constexpr size_t PAGE = 4096;
// Alignment of an allocation. CUDA's is 256 bytes, but the smaller it is, the nearer is the guard page.
constexpr size_t ALIGNMENT = 16;
constexpr unsigned char POISON = 0xff;

size_t device_bytes() {
    static const size_t bytes = [] {
        const char *const mebibytes = getenv("EMULATED_GPU_MEMORY");
        return (mebibytes ? strtoull(mebibytes, nullptr, 10) : 16 << 10) << 20;
    }();
    return bytes;
}

struct Allocation {
    char *pages;
    size_t bytes_of_pages;
    size_t bytes;
};

// By the address of the first byte.
std::map<CUdeviceptr, Allocation> allocations;
MemoryUse use;

size_t rounded_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// The allocation that begins at or before an address.
std::map<CUdeviceptr, Allocation>::iterator at_or_before(CUdeviceptr address) {
    auto found = allocations.upper_bound(address);
    return found == allocations.begin() ? allocations.end() : --found;
}

bool all_poison(const char *from, const char *to) {
    for (; from < to; ++from) {
        if ((unsigned char)*from != POISON) {
            return false;
        }
    }
    return true;
}

CUresult outside(const char *call, CUdeviceptr address, size_t bytes) {
    const Lock lock(driver_mutex);
    char where[200];
    describe_address(address, where, sizeof where);
    say("%s: %zu bytes from %llx are not in one allocation; that is %s", call, bytes, address, where);
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult allocate(CUdeviceptr *address, size_t bytes) {
    const Lock lock(driver_mutex);
    const Call call("cuMemAlloc");
    if (use.bytes + bytes > device_bytes()) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    // Two may not begin at the same address, even of 0 bytes.
    const size_t body = rounded_up(bytes ? bytes : 1, ALIGNMENT), between = rounded_up(body, PAGE);
    const size_t all = between + 2 * PAGE;
    void *const pages = mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    char *const usable = (char *)pages + PAGE;
    mprotect(pages, PAGE, PROT_NONE);
    mprotect(usable + between, PAGE, PROT_NONE);
    memset(usable, POISON, between);
    *address = CUdeviceptr(usable + between - body);
    allocations[*address] = {(char *)pages, all, bytes};
    use.bytes += bytes;
    use.most_bytes = use.bytes > use.most_bytes ? use.bytes : use.most_bytes;
    ++use.living;
    ++use.all;
    return CUDA_SUCCESS;
}

} // namespace

bool emulated_gpu_holds(const void *first, size_t bytes) {
    const Lock lock(driver_mutex);
    const auto address = CUdeviceptr(first);
    const auto found = at_or_before(address);
    return bytes == 0 || (found != allocations.end() && address - found->first + bytes <= found->second.bytes);
}

size_t allocation_around(CUdeviceptr address) {
    const auto found = at_or_before(address);
    return found != allocations.end() && address - found->first < found->second.bytes ? found->second.bytes : 0;
}

void describe_address(CUdeviceptr address, char *text, size_t size) {
    const auto before = at_or_before(address);
    const auto after = allocations.upper_bound(address);
    if (before != allocations.end() && address - before->first < before->second.bytes_of_pages) {
        const auto end = before->first + before->second.bytes;
        const char *const which = address < end ? "before" : "behind";
        const auto distance = (long long)(address < end ? end - address : address - end);
        snprintf(text, size, "%lld bytes %s the end of an allocation of %zu", distance, which, before->second.bytes);
    } else if (after != allocations.end() && after->first - address < after->second.bytes_of_pages) {
        const auto distance = (unsigned long long)(after->first - address);
        snprintf(text, size, "%llu bytes before the start of an allocation of %zu", distance, after->second.bytes);
    } else {
        snprintf(text, size, "near no allocation");
    }
}

MemoryUse memory_use() { return use; }

extern "C" {

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    if (bytes == 0) {
        say("cuMemAlloc of 0 bytes");
        return CUDA_ERROR_INVALID_VALUE;
    }
    return allocate(address, bytes);
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t bytes, CUstream) {
    static std::once_flag once;
    if (bytes == 0) {
        std::call_once(once, [] {
            say("(said once) cuMemAllocAsync of 0 bytes: undocumented, and fails on devices without memory pools");
        });
    }
    return allocate(address, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    const Lock lock(driver_mutex);
    const Call call("cuMemFree");
    const auto found = allocations.find(address);
    if (found == allocations.end()) {
        say("cuMemFree of %llx, where no allocation begins", address);
        return CUDA_ERROR_INVALID_VALUE;
    }
    const auto [pages, bytes_of_pages, bytes] = found->second;
    const char *const first = (const char *)address;
    if (!all_poison(first + bytes, pages + bytes_of_pages - PAGE)) {
        DIE("something was written behind the end of an allocation of %zu bytes", bytes);
    }
    if (!all_poison(pages + PAGE, first)) {
        DIE("something was written before the start of an allocation of %zu bytes", bytes);
    }
    munmap(pages, bytes_of_pages);
    allocations.erase(found);
    use.bytes -= bytes;
    --use.living;
    return CUDA_SUCCESS;
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream) { return cuMemFree_v2(address); }

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream) {
    Call call("cuMemcpyHtoD");
    if (!emulated_gpu_holds((void *)to, bytes)) {
        return outside("cuMemcpyHtoD", to, bytes);
    }
    memcpy((void *)to, from, bytes);
    call.bytes = double(bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream) {
    Call call("cuMemcpyDtoH");
    if (!emulated_gpu_holds((void *)from, bytes)) {
        return outside("cuMemcpyDtoH", from, bytes);
    }
    memcpy(to, (void *)from, bytes);
    call.bytes = double(bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
    Call call("cuMemcpyDtoD");
    for (const CUdeviceptr address : {from, to}) {
        if (!emulated_gpu_holds((void *)address, bytes)) {
            return outside("cuMemcpyDtoD", address, bytes);
        }
    }
    memmove((void *)to, (void *)from, bytes);
    call.bytes = 2.0 * double(bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes, CUstream stream) {
    return cuMemcpyDtoDAsync_v2(to, from, bytes, stream);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream) {
    Call call("cuMemset");
    if (!emulated_gpu_holds((void *)to, bytes)) {
        return outside("cuMemset", to, bytes);
    }
    memset((void *)to, value, bytes);
    call.bytes = double(bytes);
    return CUDA_SUCCESS;
}

} // extern "C"
