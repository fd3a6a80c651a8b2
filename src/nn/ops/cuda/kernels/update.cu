// Parameters and their averages, in place.

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

// train::ema, and the running statistics of ops::batch_norm_train
extern "C" __global__ void blend(u64 n, float keep, float take, const float *value, float *average) {
    EACH(i, n) {
        average[i] = keep * average[i] + take * value[i];
    }
}

// train::gradients: the sum of the squares of each block's part, of `part` elements.
extern "C" __global__ void square_sums(u64 n, u64 part, const float *x, float *sums) {
    __shared__ float partial[32];
    const u64 first = blockIdx.x * part, end = first + part < n ? first + part : n;
    float sum = 0.0f;
    for (u64 i = first + threadIdx.x; i < end; i += blockDim.x) {
        sum += x[i] * x[i];
    }
    sum = block_sum(sum, partial);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}
