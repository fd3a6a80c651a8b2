// Images whose channels lie last: [rows, channels], a row for each pixel of each image. A thread takes N channels at
// once, 4 where their number allows it, in one access.

template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
    T of[N];
};

template <int N, typename T> __device__ Pack<T, N> packed(const T *from, u64 first) {
    return *(const Pack<T, N> *)(from + first);
}

// 64-bit division is slow.
__device__ u32 remainder(u64 n, u32 divisor) { return n >> 32 ? n % divisor : (u32)n % divisor; }

// leaky(scale x + shift) + residual of n elements.
template <int N, typename T>
__device__ void scale_shift_last(
    u64 n, u32 channels, float slope, u32 added, const T *x, const float *scale, const float *shift, const T *residual,
    T *y) {
    EACH(i, n / N) {
        const u32 channel = remainder(i * N, channels);
        const Pack<T, N> values = packed<N>(x, i * N), more = added ? packed<N>(residual, i * N) : values;
        const Pack<float, N> a = packed<N>(scale, channel), b = packed<N>(shift, channel);
        Pack<T, N> result;
        for (int k = 0; k < N; ++k) {
            const float z = a.of[k] * to_float(values.of[k]) + b.of[k];
            finish(result.of + k, z > 0.0f ? z : slope * z, more.of + k, added);
        }
        *(Pack<T, N> *)(y + i * N) = result;
    }
}

// Of each channel of each part, `part` rows of all `rows`, the mean and the sum of squared distances from it:
// [parts, channels, 2]. blockIdx.x is for 32 N channels, blockIdx.y for a part.
template <int N, typename T>
__device__ void moments_last(u32 rows, u32 channels, u32 part, const T *x, float *moments) {
    __shared__ float partial[2][256 * N];
    const u32 lanes = min(channels / N, 32u), lines = blockDim.x / lanes;
    const u32 lane = threadIdx.x % lanes, line = threadIdx.x / lanes;
    const u32 channel = (blockIdx.x * 32 + lane) * N, first = blockIdx.y * part, end = min(rows, first + part);
    float sum[N] = {}, squares[N] = {};
    if (line < lines && channel < channels) {
        // Distances from the first row, so that nothing cancels where the mean is large.
        const Pack<T, N> origin = packed<N>(x, (u64)first * channels + channel);
#pragma unroll 4
        for (u32 row = first + line; row < end; row += lines) {
            const Pack<T, N> values = packed<N>(x, (u64)row * channels + channel);
            for (int k = 0; k < N; ++k) {
                const float distance = to_float(values.of[k]) - to_float(origin.of[k]);
                sum[k] += distance;
                squares[k] += distance * distance;
            }
        }
    }
    for (int k = 0; k < N; ++k) {
        partial[0][threadIdx.x * N + k] = sum[k];
        partial[1][threadIdx.x * N + k] = squares[k];
    }
    __syncthreads();
    const u32 own = blockIdx.x * 32 * N + threadIdx.x, width = lanes * N;
    if (threadIdx.x < width && own < channels) {
        float all = 0.0f, all_squares = 0.0f;
        for (u32 i = 0; i < lines; ++i) {
            all += partial[0][i * width + threadIdx.x];
            all_squares += partial[1][i * width + threadIdx.x];
        }
        const float mean = all / (end - first), origin = to_float(x[(u64)first * channels + own]);
        float *to = moments + 2 * ((u64)blockIdx.y * channels + own);
        to[0] = origin + mean;
        to[1] = all_squares - all * mean;
    }
}

// The sum over the lanes of a warp, for all of them, in an order that does not change.
__device__ double warp_sum(double value) {
    for (int step = 16; step > 0; step /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, step);
    }
    return value;
}

// Of each channel, joined from the moments of its parts: the mean, the unbiased variance, and the scale and the shift
// that batch norm comes down to, [4, channels]. A warp for each channel.
extern "C" __global__ void join_last(
    u32 rows, u32 channels, u32 part, float eps, const float *moments, const float *weight, const float *bias, float *joined) {
    const u32 channel = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (channel >= channels) {
        return;
    }
    double sum = 0.0, squares = 0.0;
    for (u32 first = lane * part; first < rows; first += 32 * part) {
        sum += (double)min(part, rows - first) * moments[2 * ((u64)(first / part) * channels + channel)];
    }
    const double mean = warp_sum(sum) / rows;
    for (u32 first = lane * part; first < rows; first += 32 * part) {
        const float *own = moments + 2 * ((u64)(first / part) * channels + channel);
        const double distance = own[0] - mean;
        squares += own[1] + min(part, rows - first) * distance * distance;
    }
    squares = warp_sum(squares);
    if (lane == 0) {
        const double scale = weight[channel] / sqrt(squares / rows + eps);
        joined[channel] = (float)mean;
        joined[channels + channel] = (float)(squares / (rows - 1.0));
        joined[2 * channels + channel] = (float)scale;
        joined[3 * channels + channel] = (float)(bias[channel] - mean * scale);
    }
}

// Means of squares of `side` x `side` pixels of images [.., height, width, channels], of which n result.
template <typename T>
__device__ void pool_last(u64 n, u32 side, u32 width, u32 channels, const T *x, T *y) {
    EACH(to, n) {
        const u32 channel = remainder(to, channels);
        const u64 pixel = to / channels;
        const u32 column = remainder(pixel, width / side);
        // Rows of all images: their height is a multiple of the side.
        const u64 row = pixel / (width / side);
        float sum = 0.0f;
        for (u32 i = 0; i < side; ++i) {
            for (u32 j = 0; j < side; ++j) {
                sum += to_float(x[((row * side + i) * width + column * side + j) * channels + channel]);
            }
        }
        store(y + to, sum / (side * side));
    }
}

// [.., m, n] to [.., n, m], in tiles of 32 x 32.
template <typename From, typename To> __device__ void turn(u32 m, u32 n, const From *x, To *y) {
    __shared__ float tile[32][33];
    const u32 tiles_m = (m + 31) / 32, tiles_n = (n + 31) / 32, in_matrix = blockIdx.x % (tiles_m * tiles_n);
    const u64 matrix = (u64)(blockIdx.x / (tiles_m * tiles_n)) * m * n;
    const u32 top = in_matrix / tiles_n * 32, left = in_matrix % tiles_n * 32, lane = threadIdx.x % 32;
    for (u32 i = threadIdx.x / 32; i < 32; i += blockDim.x / 32) {
        if (top + i < m && left + lane < n) {
            tile[i][lane] = to_float(x[matrix + (u64)(top + i) * n + left + lane]);
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x / 32; i < 32; i += blockDim.x / 32) {
        if (left + i < n && top + lane < m) {
            store(y + matrix + (u64)(left + i) * m + top + lane, tile[lane][i]);
        }
    }
}

#define FOR_TYPE(type, T)                                                                                               \
    extern "C" __global__ void scale_shift_last_##type(                                                                 \
        u64 n, u32 channels, float slope, u32 added, const T *x, const float *scale, const float *shift,                \
        const T *residual, T *y) {                                                                                      \
        scale_shift_last<1>(n, channels, slope, added, x, scale, shift, residual, y);                                   \
    }                                                                                                                   \
    extern "C" __global__ void scale_shift_last_by_4_##type(                                                            \
        u64 n, u32 channels, float slope, u32 added, const T *x, const float *scale, const float *shift,                \
        const T *residual, T *y) {                                                                                      \
        scale_shift_last<4>(n, channels, slope, added, x, scale, shift, residual, y);                                   \
    }                                                                                                                   \
    extern "C" __global__ void moments_last_##type(u32 rows, u32 channels, u32 part, const T *x, float *moments) {      \
        moments_last<1>(rows, channels, part, x, moments);                                                              \
    }                                                                                                                   \
    extern "C" __global__ void moments_last_by_4_##type(                                                                \
        u32 rows, u32 channels, u32 part, const T *x, float *moments) {                                                 \
        moments_last<4>(rows, channels, part, x, moments);                                                              \
    }                                                                                                                   \
    extern "C" __global__ void pool_last_##type(u64 n, u32 side, u32 width, u32 channels, const T *x, T *y) {           \
        pool_last(n, side, width, channels, x, y);                                                                      \
    }                                                                                                                   \
    extern "C" __global__ void turn_f32_##type(u32 m, u32 n, const float *x, T *y) { turn(m, n, x, y); }                \
    extern "C" __global__ void turn_bf16_##type(u32 m, u32 n, const u16 *x, T *y) { turn(m, n, x, y); }

FOR_TYPE(f32, float)
FOR_TYPE(bf16, u16)
