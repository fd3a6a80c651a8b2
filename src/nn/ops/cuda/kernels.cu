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

// random::mix and random::Stream::at
__device__ u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

__device__ u64 draw(u64 key, u64 counter, u64 places) {
    return mix(key + (counter + places + 1) * 0x9e3779b97f4a7c15ULL);
}

// As dropout::Mask: a draw decides on two places, its high half on the first.
extern "C" __global__ void dropout(u64 n, u64 key, u64 counter, u64 dropped, float scale, const float *x, float *y) {
    EACH(i, n) {
        const u64 both = draw(key, counter, i / 2);
        const u64 own = i % 2 == 0 ? both >> 32 : both & 0xffffffffULL;
        y[i] = own < dropped ? 0.0f : scale * x[i];
    }
}

// leaky(scale x + shift): a plane for each blockIdx.x, shared by the blocks of blockIdx.y.
template <typename T>
__device__ void finish(u32 plane, u32 channels, float slope, const T *x, const float *scale, const float *shift, T *y) {
    const u32 channel = blockIdx.x % channels;
    const float a = scale[channel], b = shift[channel];
    const u64 first = (u64)blockIdx.x * plane;
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < plane; i += gridDim.y * blockDim.x) {
        const float z = a * to_float(x[first + i]) + b;
        store(y + first + i, z > 0.0f ? z : slope * z);
    }
}

extern "C" __global__ void finish_f32(
    u32 plane, u32 channels, float slope, const float *x, const float *scale, const float *shift, float *y) {
    finish(plane, channels, slope, x, scale, shift, y);
}

extern "C" __global__ void finish_bf16(
    u32 plane, u32 channels, float slope, const u16 *x, const float *scale, const float *shift, u16 *y) {
    finish(plane, channels, slope, x, scale, shift, y);
}

// The sum over the block, for all its threads, in an order that does not change.
__device__ float block_sum(float value, float *partial) {
    for (int step = 16; step > 0; step /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, step);
    }
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

// Of each plane the mean and the sum of squared distances from it. One block a plane, of whole warps.
template <typename T>
__device__ void plane_moments(u32 plane, const T *x, float *moments) {
    __shared__ float partial[32];
    x += (u64)blockIdx.x * plane;
    float sum = 0.0f;
    for (u32 i = threadIdx.x; i < plane; i += blockDim.x) {
        sum += to_float(x[i]);
    }
    const float mean = block_sum(sum, partial) / plane;
    float squares = 0.0f;
    for (u32 i = threadIdx.x; i < plane; i += blockDim.x) {
        const float distance = to_float(x[i]) - mean;
        squares += distance * distance;
    }
    squares = block_sum(squares, partial);
    if (threadIdx.x == 0) {
        moments[2 * blockIdx.x] = mean;
        moments[2 * blockIdx.x + 1] = squares;
    }
}

extern "C" __global__ void plane_moments_f32(u32 plane, const float *x, float *moments) {
    plane_moments(plane, x, moments);
}

extern "C" __global__ void plane_moments_bf16(u32 plane, const u16 *x, float *moments) {
    plane_moments(plane, x, moments);
}

// train::optimiser: moments hold n first moments, n second ones and, with amsgrad, the n largest second ones.
extern "C" __global__ void adam_moments(
    u64 n, u32 amsgrad, float scale, float weight_decay, float beta1, float beta2, const float *gradient,
    const float *parameter, float *moments) {
    EACH(i, n) {
        const float g = gradient[i] * scale + weight_decay * parameter[i];
        const float m = moments[i];
        moments[i] = m + (1.0f - beta1) * (g - m);
        const float v = moments[n + i] * beta2 + (1.0f - beta2) * g * g;
        moments[n + i] = v;
        if (amsgrad && v > moments[2 * n + i]) {
            moments[2 * n + i] = v;
        }
    }
}

extern "C" __global__ void adam_parameter(
    u64 n, u32 amsgrad, float step_size, float root_correction, float eps, const float *moments, float *parameter) {
    EACH(i, n) {
        const float v = moments[(amsgrad ? 2 * n : n) + i];
        parameter[i] -= step_size * (moments[i] / (sqrtf(v) / root_correction + eps));
    }
}

// train::ema
extern "C" __global__ void blend(u64 n, float decay, const float *value, float *average) {
    EACH(i, n) {
        average[i] = decay * average[i] + (1.0f - decay) * value[i];
    }
}

// ops::point_bias: x is [images, queries, 4 heads], extent [images, 2], the result [images, heads, queries, positions].
extern "C" __global__ void point_bias(
    u32 heads, u32 queries, u32 height, u32 width, u32 positions, const float *x, const float *extent, float *y) {
    const u32 image = blockIdx.x / (heads * queries), head = blockIdx.x / queries % heads, query = blockIdx.x % queries;
    const float *row = x + ((u64)image * queries + query) * 4 * heads;
    float centre[2], scale[2];
    for (u32 axis = 0; axis < 2; ++axis) {
        const float inverse_width = row[2 * heads + 2 * head + axis];
        centre[axis] = extent[2 * image + axis] / (1.0f + expf(-row[2 * head + axis]));
        scale[axis] = inverse_width * inverse_width * -0.125f;
    }
    for (u32 i = threadIdx.x; i < positions; i += blockDim.x) {
        const float across = centre[0] - (i % width + 0.5f), down = centre[1] - (i / width + 0.5f);
        const float bias = across * across * scale[0] + down * down * scale[1];
        y[(u64)blockIdx.x * positions + i] = i < height * width ? bias : 0.0f;
    }
}

// x + row for every row of x, and if wanted the larger of that and 0.
extern "C" __global__ void add_row(u64 n, u32 width, u32 relu, const float *x, const float *row, float *y) {
    EACH(i, n) {
        // 64-bit division is slow.
        const float sum = x[i] + row[n >> 32 ? i % width : (u32)i % width];
        y[i] = relu && !(sum > 0.0f) ? 0.0f : sum;
    }
}

// ops::gru: the states [rows, hidden] after word t, of gates [rows, words, 3 hidden] and, of the states before,
// recurrent [rows, 3 hidden] and h [rows, hidden].
extern "C" __global__ void gru_step(
    u64 n, u32 hidden, u32 words, u32 t, const float *gates, const float *recurrent, const float *h, float *next) {
    EACH(i, n) {
        const u64 row = i / hidden, place = i % hidden;
        const float *g = gates + (row * words + t) * 3 * hidden + place, *r = recurrent + row * 3 * hidden + place;
        const float reset = 1.0f / (1.0f + expf(-(g[0] + r[0])));
        const float keep = 1.0f / (1.0f + expf(-(g[hidden] + r[hidden])));
        const float fresh = tanhf(g[2 * hidden] + reset * r[2 * hidden]);
        next[i] = fresh + keep * (h[i] - fresh);
    }
}
