// cuRAND: uniform numbers in (0, 1], other ones than those of the real library.
#include <curand.h>

#include "checks.h"
#include "numbers.h"

struct curandGenerator_st {
    u64 seed = 0, drawn = 0;
};

namespace {

u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// The first BITS of each draw, as many as T has.
template <int BITS, class T>
curandStatus_t fill(const char *call_name, curandGenerator_t generator, T *numbers, size_t count) {
    if (!is_aligned(numbers, sizeof(T)) || !emulated_gpu_holds(numbers, count * sizeof(T))) {
        REFUSE(CURAND_STATUS_LAUNCH_FAILURE, "%s: %zu numbers from %p are misaligned or not in one allocation",
               call_name, count, (void *)numbers);
    }
    Call call(call_name);
    call.bytes = double(count * sizeof(T));
    for (size_t i = 0; i < count; ++i) {
        const u64 draw = mix(generator->seed + ++generator->drawn * 0x9e3779b97f4a7c15ull);
        numbers[i] = T((draw >> (64 - BITS)) + 1) / T(1ull << BITS);
    }
    return CURAND_STATUS_SUCCESS;
}

} // namespace

extern "C" {

curandStatus_t curandCreateGenerator(curandGenerator_t *generator, curandRngType_t) {
    *generator = new curandGenerator_st;
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
    delete generator;
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetStream(curandGenerator_t, cudaStream_t) { return CURAND_STATUS_SUCCESS; }

curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t generator, unsigned long long seed) {
    *generator = {mix(seed + 1), 0};
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandGenerateUniform(curandGenerator_t generator, float *numbers, size_t count) {
    return fill<24>(__func__, generator, numbers, count);
}

curandStatus_t curandGenerateUniformDouble(curandGenerator_t generator, double *numbers, size_t count) {
    return fill<53>(__func__, generator, numbers, count);
}

} // extern "C"
