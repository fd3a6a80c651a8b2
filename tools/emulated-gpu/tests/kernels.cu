// Kernels for kernels.cpp.
#include <cassert>

extern "C" {

__global__ void twice(unsigned n, const float *x, float *y) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = 2 * x[i];
    }
}

__global__ void twice_by_four(const float4 *x, float4 *y) {
    const float4 v = x[threadIdx.x];
    y[threadIdx.x] = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w);
}

// The sum over each block of whole warps.
__global__ void block_sums(const float *x, float *sums) {
    __shared__ float partial[32];
    float sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int step = 16; step > 0; step /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
    }
    if (threadIdx.x % 32 == 0) {
        partial[threadIdx.x / 32] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < blockDim.x / 32; ++warp) {
            sum += partial[warp];
        }
        sums[blockIdx.x] = sum;
    }
}

// In each warp: the value of the lane before, of that behind, of lane 5, and of the lane 2 before in segments of 8.
__global__ void neighbours(const int *x, int *y) {
    const int i = threadIdx.x, value = x[i];
    y[4 * i] = __shfl_up_sync(0xffffffffu, value, 1);
    y[4 * i + 1] = __shfl_down_sync(0xffffffffu, value, 1);
    y[4 * i + 2] = __shfl_sync(0xffffffffu, value, 5);
    y[4 * i + 3] = __shfl_up_sync(0xffffffffu, value, 2, 8);
}

// Reverses each block through the shared memory that the launch gives.
__global__ void reverse(int *x) {
    extern __shared__ int shared[];
    int *own = x + blockIdx.x * blockDim.x;
    shared[threadIdx.x] = own[threadIdx.x];
    __syncthreads();
    own[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void count(unsigned n, const unsigned *x, unsigned *counts, float *sum) {
    __shared__ unsigned own[4];
    if (threadIdx.x < 4) {
        own[threadIdx.x] = 0;
    }
    __syncthreads();
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        atomicAdd(&own[x[i] % 4], 1u);
        atomicAdd(sum, (float)x[i]);
    }
    __syncthreads();
    if (threadIdx.x < 4) {
        atomicAdd(&counts[threadIdx.x], own[threadIdx.x]);
    }
}

__global__ void integers(const long long *x, const int *y, long long *z) {
    const int i = threadIdx.x;
    const long long a = x[i];
    const int b = y[i];
    long long *to = z + 8 * i;
    to[0] = a / b;
    to[1] = a % b;
    to[2] = (int)a / b;
    to[3] = (unsigned)a % (unsigned)b;
    to[4] = (long long)(int)a * b;
    to[5] = a >> (b & 63);
    to[6] = min(a, (long long)b);
    to[7] = (int)((unsigned)a << (b & 31));
}

__global__ void floats(const float *x, float *y) {
    const int i = threadIdx.x;
    const float a = x[i];
    float *to = y + 8 * i;
    to[0] = expf(a);
    to[1] = logf(fabsf(a));
    to[2] = tanhf(a);
    to[3] = 1 / (1 + expf(-a));
    to[4] = sqrtf(fabsf(a));
    to[5] = (float)(int)(a * 10);
    to[6] = rintf(a);
    to[7] = a / 3 > fmaxf(a, 0.25f) ? 1 : floorf(a);
}

// ---- What must be found out.

__global__ void without_half(float *x) {
    if (threadIdx.x < 16) {
        __syncthreads();
    }
    x[threadIdx.x] = 0;
}

__global__ void at_two_places(volatile float *x) {
    if (x[threadIdx.x] > 0) {
        x[threadIdx.x] = 1;
        __syncthreads();
        x[threadIdx.x] = 2;
    } else {
        x[threadIdx.x] = 3;
        __syncthreads();
        x[threadIdx.x + 1] = 4;
    }
}

__global__ void with_absent_lanes(int *x) {
    if (threadIdx.x < 16) {
        x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 16);
    }
}

__global__ void outside_of_mask(int *x) { x[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 16); }

__global__ void beyond_shared(int *x) {
    extern __shared__ int shared[];
    shared[x[threadIdx.x]] = 1;
    __syncthreads();
    x[threadIdx.x] = shared[threadIdx.x];
}

__global__ void one_byte_on(const char *x, float *y) { *y = *(const float *)(x + 1); }

__global__ void says_no(const int *x) { assert(x[0] > 0); }

__global__ void __launch_bounds__(64) few_threads(float *x) { x[threadIdx.x] = 0; }

__global__ void not_known(unsigned *x) { x[0] = __popc(x[0]); }
}
