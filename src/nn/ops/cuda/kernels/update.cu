// Parameters and their averages, in place, and sums over them: many tensors in one launch.

// Elements that one block takes.
#define CHUNK (1ull << 14)

// One of the tensors that a launch is about, in as many chunks as blocks from `first`: its elements, two numbers of its
// own, and where it and what belongs to it lie.
struct Entry {
    u64 first, n;
    float numbers[2];
    float *of[3];
};

// The entry of this block, which is the last that begins at it or before; there are `entries` of them.
__device__ Entry entry_of_block(u32 entries, const Entry *all) {
    u32 low = 0, high = entries;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (all[middle].first <= blockIdx.x) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return all[low];
}

// The elements of this block.
#define EACH_OF(i, entry)                                                                                               \
    for (u64 i = (blockIdx.x - (entry).first) * CHUNK + threadIdx.x,                                                    \
             end = min((entry).n, (blockIdx.x - (entry).first + 1) * CHUNK);                                            \
         i < end; i += blockDim.x)

// train::optimiser: of gradient, parameter and moments, which hold n first moments, n second ones and, with amsgrad, the n
// largest second ones. The numbers are the step and the root of the correction of the second moments.
extern "C" __global__ void adam(
    u32 entries, const Entry *all, u32 amsgrad, float scale, float weight_decay, float beta1, float beta2, float eps) {
    const Entry own = entry_of_block(entries, all);
    const float *gradient = own.of[0];
    float *parameter = own.of[1], *first = own.of[2], *second = first + own.n, *largest = second + own.n;
    EACH_OF(i, own) {
        const float p = parameter[i], g = gradient[i] * scale + weight_decay * p;
        const float m = first[i] + (1.0f - beta1) * (g - first[i]);
        float v = second[i] * beta2 + (1.0f - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        if (amsgrad) {
            v = v > largest[i] ? v : largest[i];
            largest[i] = v;
        }
        parameter[i] = p - own.numbers[0] * (m / (sqrtf(v) / own.numbers[1] + eps));
    }
}

// train::ema: of the value and the average.
extern "C" __global__ void blend(u32 entries, const Entry *all, float keep, float take) {
    const Entry own = entry_of_block(entries, all);
    EACH_OF(i, own) {
        own.of[1][i] = keep * own.of[1][i] + take * own.of[0][i];
    }
}

// train::gradients: the sum of the squares of each block's elements.
extern "C" __global__ void square_sums(u32 entries, const Entry *all, float *sums) {
    __shared__ float partial[32];
    const Entry own = entry_of_block(entries, all);
    float sum = 0.0f;
    EACH_OF(i, own) {
        sum += own.of[0][i] * own.of[0][i];
    }
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}

// The running statistics of a batch norm, and their counter: running <- keep running + take batch.
extern "C" __global__ void keep_running(
    u32 channels, float keep, float take, const float *mean, const float *variance, float *running_mean,
    float *running_variance, long long *batches) {
    EACH(channel, channels) {
        running_mean[channel] = keep * running_mean[channel] + take * mean[channel];
        running_variance[channel] = keep * running_variance[channel] + take * variance[channel];
        if (channel == 0) {
            ++*batches;
        }
    }
}
