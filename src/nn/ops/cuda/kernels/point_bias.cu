// The Gaussians of point-modulated attention. x is [images, queries, 4 heads], extent [images, 2], the result [images, heads, queries, positions].
extern "C" __global__ void point_bias(
    u32 heads, u32 queries, u32 height, u32 width, u32 positions, const float *x, const float *extent, float *y) {
    const u32 image = blockIdx.x / (heads * queries), head = blockIdx.x / queries % heads, query = blockIdx.x % queries;
    const float *row = x + ((u64)image * queries + query) * 4 * heads;
    float centre[2], scale[2];
    for (u32 axis = 0; axis < 2; ++axis) {
        const float inverse_width = row[2 * heads + 2 * head + axis];
        centre[axis] = extent[2 * image + axis] * sigmoid(row[2 * head + axis]);
        scale[axis] = inverse_width * inverse_width * -0.125f;
    }
    for (u32 i = threadIdx.x; i < positions; i += blockDim.x) {
        const float across = centre[0] - (i % width + 0.5f), down = centre[1] - (i / width + 0.5f);
        const float bias = across * across * scale[0] + down * down * scale[1];
        y[(u64)blockIdx.x * positions + i] = i < height * width ? bias : 0.0f;
    }
}

// The gradient of x. One block for each image, head and query, of whole warps.
extern "C" __global__ void point_bias_gradient(
    u32 heads, u32 queries, u32 height, u32 width, u32 positions, const float *x, const float *extent, const float *above,
    float *to) {
    __shared__ float partial[32];
    const u32 image = blockIdx.x / (heads * queries), head = blockIdx.x / queries % heads, query = blockIdx.x % queries;
    const u64 row = ((u64)image * queries + query) * 4 * heads;
    const float *gradient = above + (u64)blockIdx.x * positions;
    for (u32 axis = 0; axis < 2; ++axis) {
        const float share = sigmoid(x[row + 2 * head + axis]), inverse_width = x[row + 2 * heads + 2 * head + axis];
        const float centre = extent[2 * image + axis] * share;
        float along = 0.0f, squares = 0.0f;
        for (u32 i = threadIdx.x; i < height * width; i += blockDim.x) {
            const float distance = centre - ((axis == 0 ? i % width : i / width) + 0.5f);
            along += gradient[i] * distance;
            squares += gradient[i] * distance * distance;
        }
        along = block_sum(along, partial);
        squares = block_sum(squares, partial);
        if (threadIdx.x == 0) {
            const float scale = inverse_width * inverse_width * -0.125f;
            to[row + 2 * head + axis] = 2.0f * scale * along * extent[2 * image + axis] * share * (1.0f - share);
            to[row + 2 * heads + 2 * head + axis] = -0.25f * inverse_width * squares;
        }
    }
}
