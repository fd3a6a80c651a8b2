// Kernels that candle lacks, compiled by NVRTC when a GPU is first used. No header is included, so that nothing
// but NVRTC must be there; bf16 is therefore handled by its bits.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Every element once, whatever the number of blocks.
#define EACH(i, n) for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (u64)gridDim.x * blockDim.x)

__device__ float to_float(float x) { return x; }
__device__ float to_float(u16 x) { return __uint_as_float((u32)x << 16); }

__device__ void store(float *to, float x) { *to = x; }
// To the nearest, from halfway to the even one.
__device__ void store(u16 *to, float x) {
    const u32 bits = __float_as_uint(x);
    *to = x != x ? (u16)((bits >> 16) | 0x40) : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The sum over the lanes of a warp, for all of them, in an order that does not change.
__device__ float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, step);
    }
    return value;
}

__device__ float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    }
    return value;
}

// The sum over the block, for all its threads, in an order that does not change.
__device__ float block_sum(float value, float *partial) {
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) {
        partial[threadIdx.x / 32] = value;
    }
    __syncthreads();
    float sum = 0.0f;
    for (u32 warp = 0; warp < blockDim.x / 32; ++warp) {
        sum += partial[warp];
    }
    __syncthreads();
    return sum;
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
