// Element by element.

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

// ops::linear: to every row of y the row is added, and if wanted what is below 0 becomes 0.
extern "C" __global__ void add_row(u64 n, u32 width, u32 relu, const float *row, float *y) {
    EACH(i, n) {
        // 64-bit division is slow.
        const float sum = y[i] + row[n >> 32 ? i % width : (u32)i % width];
        y[i] = relu && sum < 0.0f ? 0.0f : sum;
    }
}

// What a gradient is before a ReLU whose result was y.
extern "C" __global__ void where_positive(u64 n, const float *y, const float *gradient, float *to) {
    EACH(i, n) {
        to[i] = y[i] > 0.0f ? gradient[i] : 0.0f;
    }
}

// [a, i, j, width], each a so many steps behind the one before, to [a, j, i, width]: the heads of attention before the
// positions, or behind them again.
extern "C" __global__ void swap_middle(
    u64 n, u32 rows, u32 columns, u32 width, u64 step, float by, const float *x, float *y) {
    EACH(to, n) {
        const u32 place = to % width;
        u64 rest = to / width;
        const u32 i = rest % rows;
        rest /= rows;
        const u32 j = rest % columns;
        y[to] = by * x[rest / columns * step + ((u64)i * columns + j) * width + place];
    }
}
