// Rows of a matrix, one to each warp.

// The row of this warp, and where in it this lane begins.
#define ROW ((u64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32)
#define LANE (threadIdx.x % 32)

// ops::attention_weights: in place softmax(scale logits + bias) of logits [images, heads, queries, width]. The bias has its
// own steps from one image, head and query to the next; `biased` is 0 where there is none. A row that is hidden as a whole
// gives zeros.
extern "C" __global__ void attention_softmax(
    u64 rows, u32 width, u32 heads, u32 queries, float scale, u32 biased, u64 by_image, u64 by_head, u64 by_query,
    const float *bias, float *logits) {
    if (ROW >= rows) {
        return;
    }
    const u64 image = ROW / queries / heads, head = ROW / queries % heads, query = ROW % queries;
    bias += image * by_image + head * by_head + query * by_query;
    float *row = logits + ROW * width;
    const float hidden = __uint_as_float(0xff800000u);
    float largest = hidden;
    for (u32 i = LANE; i < width; i += 32) {
        row[i] = scale * row[i] + (biased ? bias[i] : 0.0f);
        largest = fmaxf(largest, row[i]);
    }
    largest = warp_max(largest);
    float sum = 0.0f;
    for (u32 i = LANE; i < width; i += 32) {
        row[i] = largest == hidden ? 0.0f : expf(row[i] - largest);
        sum += row[i];
    }
    sum = warp_sum(sum);
    const float share = largest == hidden ? 0.0f : 1.0f / sum;
    for (u32 i = LANE; i < width; i += 32) {
        row[i] *= share;
    }
}

// The gradient before a softmax that gave y.
extern "C" __global__ void softmax_gradient(u64 rows, u32 width, const float *y, const float *above, float *to) {
    if (ROW >= rows) {
        return;
    }
    const u64 first = ROW * width;
    float mean = 0.0f;
    for (u64 i = first + LANE; i < first + width; i += 32) {
        mean += y[i] * above[i];
    }
    mean = warp_sum(mean);
    for (u64 i = first + LANE; i < first + width; i += 32) {
        to[i] = y[i] * (above[i] - mean);
    }
}

// The mean and the inverse deviation of a row.
struct Statistics {
    float mean, inverse;
    __device__ Statistics(u32 width, float eps, const float *row) {
        float sum = 0.0f, squares = 0.0f;
        for (u32 i = LANE; i < width; i += 32) {
            sum += row[i];
        }
        mean = warp_sum(sum) / width;
        for (u32 i = LANE; i < width; i += 32) {
            squares += (row[i] - mean) * (row[i] - mean);
        }
        inverse = 1.0f / sqrtf(warp_sum(squares) / width + eps);
    }
};

extern "C" __global__ void layer_norm(
    u64 rows, u32 width, float eps, const float *x, const float *weight, const float *bias, float *y) {
    if (ROW >= rows) {
        return;
    }
    const float *row = x + ROW * width;
    const Statistics statistics(width, eps, row);
    for (u32 i = LANE; i < width; i += 32) {
        y[ROW * width + i] = (row[i] - statistics.mean) * statistics.inverse * weight[i] + bias[i];
    }
}

// The gradient of x, and for the weight's what each gradient is multiplied by: x, normalised.
extern "C" __global__ void layer_norm_gradient(
    u64 rows, u32 width, float eps, const float *x, const float *weight, const float *above, float *to, float *products) {
    if (ROW >= rows) {
        return;
    }
    const float *row = x + ROW * width, *gradient = above + ROW * width;
    const Statistics statistics(width, eps, row);
    float sum = 0.0f, along = 0.0f;
    for (u32 i = LANE; i < width; i += 32) {
        const float normal = (row[i] - statistics.mean) * statistics.inverse;
        products[ROW * width + i] = gradient[i] * normal;
        sum += gradient[i] * weight[i];
        along += gradient[i] * weight[i] * normal;
    }
    sum = warp_sum(sum) / width;
    along = warp_sum(along) / width;
    for (u32 i = LANE; i < width; i += 32) {
        const float normal = (row[i] - statistics.mean) * statistics.inverse;
        to[ROW * width + i] = statistics.inverse * (gradient[i] * weight[i] - sum - normal * along);
    }
}

// The sums of the columns of a matrix over each block's part of its rows: 32 columns to each blockIdx.x, `part` rows to
// each blockIdx.y. Blocks have 32 x 8 threads.
extern "C" __global__ void column_sums(u64 rows, u32 width, u32 part, const float *x, float *sums) {
    __shared__ float partial[8][32];
    const u32 column = blockIdx.x * 32 + threadIdx.x;
    const u64 first = (u64)blockIdx.y * part, end = first + part < rows ? first + part : rows;
    float sum = 0.0f;
    if (column < width) {
        for (u64 row = first + threadIdx.y; row < end; row += 8) {
            sum += x[row * width + column];
        }
    }
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < width) {
        for (u32 i = 1; i < 8; ++i) {
            sum += partial[i][threadIdx.x];
        }
        sums[(u64)blockIdx.y * width + column] = sum;
    }
}
