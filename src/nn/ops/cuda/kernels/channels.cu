// Channels of images [n, channels, plane]: batch norm and what follows it.

// The value in y, which in bf16 is rounded, with the residual added where there is one.
template <typename T>
__device__ void finish(T *y, float value, const T *residual, bool added) {
    store(y, value);
    if (added) {
        store(y, to_float(*y) + to_float(*residual));
    }
}

// leaky(scale x + shift) + residual: a plane for each blockIdx.x, shared by the blocks of blockIdx.y.
template <typename T>
__device__ void scale_shift(
    u32 plane, u32 channels, float slope, u32 added, const T *x, const float *scale, const float *shift, const T *residual,
    T *y) {
    const u32 channel = blockIdx.x % channels;
    const float a = scale[channel], b = shift[channel];
    const u64 first = (u64)blockIdx.x * plane;
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < plane; i += gridDim.y * blockDim.x) {
        const float z = a * to_float(x[first + i]) + b;
        finish(y + first + i, z > 0.0f ? z : slope * z, residual + first + i, added);
    }
}

extern "C" __global__ void scale_shift_f32(
    u32 plane, u32 channels, float slope, u32 added, const float *x, const float *scale, const float *shift,
    const float *residual, float *y) {
    scale_shift(plane, channels, slope, added, x, scale, shift, residual, y);
}

extern "C" __global__ void scale_shift_bf16(
    u32 plane, u32 channels, float slope, u32 added, const u16 *x, const float *scale, const float *shift,
    const u16 *residual, u16 *y) {
    scale_shift(plane, channels, slope, added, x, scale, shift, residual, y);
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

// The scale and the shift, [2, channels], that batch norm with these statistics comes down to.
extern "C" __global__ void fold(
    u32 channels, float eps, const float *weight, const float *bias, const float *mean, const float *variance, float *folded) {
    EACH(channel, channels) {
        const float scale = weight[channel] / sqrtf(variance[channel] + eps);
        folded[channel] = scale;
        folded[channels + channel] = bias[channel] - mean[channel] * scale;
    }
}

// Of each channel the mean, the unbiased variance and the inverse deviation, [3, channels], joined from the moments of
// its planes (Chan et al. 1983), so that nothing cancels.
extern "C" __global__ void join_moments(u32 images, u32 channels, u32 plane, float eps, const float *moments, float *statistics) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) {
        return;
    }
    double mean = 0.0, squares = 0.0, count = 0.0;
    for (u32 image = 0; image < images; ++image) {
        const float *own = moments + 2 * ((u64)image * channels + channel);
        const double distance = own[0] - mean, all = count + plane;
        mean += distance * plane / all;
        squares += own[1] + distance * distance * count * plane / all;
        count = all;
    }
    statistics[channel] = (float)mean;
    statistics[channels + channel] = (float)(squares / (count - 1.0));
    statistics[2 * channels + channel] = (float)(1.0 / sqrt(squares / count + eps));
}

// What happens to the values of one channel.
struct Channel {
    float mean, inverse, scale, shift, slope;
    __device__ Channel(u32 channel, u32 channels, float slope, const float *statistics, const float *weight, const float *bias)
        : mean(statistics[channel]), inverse(statistics[2 * channels + channel]), scale(weight[channel] * inverse),
          shift(bias[channel] - mean * scale), slope(slope) {}
    __device__ float output(float x) const {
        const float z = scale * x + shift;
        return z > 0.0f ? z : slope * z;
    }
    // The gradient before the activation.
    __device__ float gradient(float x, float above) const { return scale * x + shift > 0.0f ? above : slope * above; }
};

// A plane for each blockIdx.x, shared by the blocks of blockIdx.y.
template <typename T>
__device__ void normalise(
    u32 plane, u32 channels, float slope, u32 added, const T *x, const float *weight, const float *bias,
    const float *statistics, const T *residual, T *y) {
    const Channel channel(blockIdx.x % channels, channels, slope, statistics, weight, bias);
    const u64 first = (u64)blockIdx.x * plane;
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < plane; i += gridDim.y * blockDim.x) {
        finish(y + first + i, channel.output(to_float(x[first + i])), residual + first + i, added);
    }
}

extern "C" __global__ void normalise_f32(
    u32 plane, u32 channels, float slope, u32 added, const float *x, const float *weight, const float *bias,
    const float *statistics, const float *residual, float *y) {
    normalise(plane, channels, slope, added, x, weight, bias, statistics, residual, y);
}

extern "C" __global__ void normalise_bf16(
    u32 plane, u32 channels, float slope, u32 added, const u16 *x, const float *weight, const float *bias,
    const float *statistics, const u16 *residual, u16 *y) {
    normalise(plane, channels, slope, added, x, weight, bias, statistics, residual, y);
}

// Of each plane the sums of the gradients before the activation, and of these times the distance from the mean. One block
// a plane.
extern "C" __global__ void normalise_sums(
    u32 plane, u32 channels, float slope, const float *x, const float *weight, const float *bias, const float *statistics,
    const float *above, float *sums) {
    __shared__ float partial[32];
    const Channel channel(blockIdx.x % channels, channels, slope, statistics, weight, bias);
    const u64 first = (u64)blockIdx.x * plane;
    float own = 0.0f, along = 0.0f;
    for (u32 i = threadIdx.x; i < plane; i += blockDim.x) {
        const float value = x[first + i], gradient = channel.gradient(value, above[first + i]);
        own += gradient;
        along += gradient * (value - channel.mean);
    }
    own = block_sum(own, partial);
    along = block_sum(along, partial);
    if (threadIdx.x == 0) {
        sums[2 * blockIdx.x] = own;
        sums[2 * blockIdx.x + 1] = along;
    }
}

// Of each channel the gradients of weight and bias, and the line (slope, then offset) in x that the gradient of x has on
// top, because through the statistics every value depends on every other: [4, channels].
extern "C" __global__ void normalise_lines(
    u32 images, u32 channels, u32 plane, const float *weight, const float *statistics, const float *sums, float *lines) {
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) {
        return;
    }
    double own = 0.0, along = 0.0;
    for (u32 image = 0; image < images; ++image) {
        const float *of_plane = sums + 2 * ((u64)image * channels + channel);
        own += of_plane[0];
        along += of_plane[1];
    }
    const double count = (double)images * plane, inverse = statistics[2 * channels + channel];
    const double scale = weight[channel] * inverse, slope = -scale * inverse * inverse * along / count;
    lines[channel] = (float)(along * inverse);
    lines[channels + channel] = (float)own;
    lines[2 * channels + channel] = (float)slope;
    lines[3 * channels + channel] = (float)(-scale * own / count - slope * statistics[channel]);
}

extern "C" __global__ void normalise_gradient(
    u32 plane, u32 channels, float slope, const float *x, const float *weight, const float *bias, const float *statistics,
    const float *lines, const float *above, float *to) {
    const u32 index = blockIdx.x % channels;
    const Channel channel(index, channels, slope, statistics, weight, bias);
    const float line = lines[2 * channels + index], offset = lines[3 * channels + index];
    const u64 first = (u64)blockIdx.x * plane;
    for (u32 i = blockIdx.y * blockDim.x + threadIdx.x; i < plane; i += gridDim.y * blockDim.x) {
        const float value = x[first + i];
        to[first + i] = channel.scale * channel.gradient(value, above[first + i]) + (line * value + offset);
    }
}
