// The stand-ins for cuBLAS, cuDNN and cuRAND against loops in f64.
#include <cublas_v2.h>
#include <cudnn.h>
#include <curand.h>

#include "test.h"

// Values to be expected, each with the sum of the absolute values that it is made of.
struct Expected {
    std::vector<f64> values, scales;

    explicit Expected(size_t count) : values(count), scales(count) {}
    void add(size_t place, f64 value) {
        values[place] += value;
        scales[place] += std::fabs(value);
    }
    // What was there times beta.
    template <class T> void keep(Array<T> &found, f64 beta) {
        for (size_t i = 0; beta != 0 && i < found.count; ++i) {
            found[i] = T(uniform());
            add(i, beta * f64(found[i]));
        }
    }
};

template <class T> static f64 tolerance(bool tf32) {
    return std::is_same_v<T, f64> ? 1e-13 : std::is_same_v<T, bf16> ? 8e-3 : tf32 ? 1e-3 : 2e-6;
}

template <class T> static void compare(Array<T> &found, const Expected &expected, bool tf32, const std::string &what) {
    for (size_t i = 0; i < found.count; ++i) {
        const f64 value = found[i], difference = std::fabs(value - expected.values[i]);
        if (!(difference <= tolerance<T>(tf32) * (expected.scales[i] + 1e-3))) {
            return expect(false, what + ": element " + std::to_string(i) + " is " + std::to_string(value) + ", not " +
                                     std::to_string(expected.values[i]));
        }
    }
    expect(true, what);
}

// ---- cuBLAS

static cublasHandle_t blas;

// With T for the factors and the result; the matrices of a batch lie one behind the other.
template <class T> static void product(int m, int n, int k, bool turn_a, bool turn_b, int batch, f64 beta, bool tf32) {
    const int lda = turn_a ? k : m, ldb = turn_b ? n : k;
    Array<T> a(size_t(batch) * m * k), b(size_t(batch) * k * n), c(size_t(batch) * m * n);
    a.fill();
    b.fill();
    Expected expected(c.count);
    expected.keep(c, beta);
    for (int i = 0; i < batch; ++i) {
        for (int x = 0; x < m; ++x) {
            for (int y = 0; y < n; ++y) {
                for (int z = 0; z < k; ++z) {
                    const size_t in_a = turn_a ? z + size_t(x) * lda : x + size_t(z) * lda;
                    const size_t in_b = turn_b ? y + size_t(z) * ldb : z + size_t(y) * ldb;
                    expected.add((i * size_t(n) + y) * m + x, 0.5 * f64(a[i * size_t(m) * k + in_a]) *
                                                                  f64(b[i * size_t(k) * n + in_b]));
                }
            }
        }
    }
    const auto turn = [](bool turned) { return turned ? CUBLAS_OP_T : CUBLAS_OP_N; };
    const s64 step_a = s64(m) * k, step_b = s64(k) * n, step_c = s64(m) * n;
    cublasStatus_t status;
    if constexpr (std::is_same_v<T, f64>) {
        const f64 alpha = 0.5;
        status = cublasDgemmStridedBatched(blas, turn(turn_a), turn(turn_b), m, n, k, &alpha, a.first, lda, step_a,
                                           b.first, ldb, step_b, &beta, c.first, m, step_c, batch);
    } else {
        const f32 alpha = 0.5f, keep = f32(beta);
        const auto type = std::is_same_v<T, bf16> ? CUDA_R_16BF : CUDA_R_32F;
        const auto compute = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
        status = cublasGemmStridedBatchedEx(blas, turn(turn_a), turn(turn_b), m, n, k, &alpha, a.first, type, lda,
                                            step_a, b.first, type, ldb, step_b, &keep, c.first, type, m, step_c, batch,
                                            compute, CUBLAS_GEMM_DEFAULT);
    }
    char what[200];
    snprintf(what, sizeof what, "product in %zu bytes, %d x %d x %d, turned %d %d, batch %d, beta %g, TF32 %d",
             sizeof(T), m, n, k, turn_a, turn_b, batch, beta, tf32);
    expect(status == CUBLAS_STATUS_SUCCESS, what);
    compare(c, expected, tf32, what);
}

static void products() {
    const int sizes[][3] = {{1, 1, 1},    {3, 5, 7},    {17, 13, 19},   {33, 25, 300},
                            {1, 200, 64}, {200, 1, 64}, {193, 205, 31}, {130, 60, 515}};
    for (const auto &[m, n, k] : sizes) {
        for (int turned = 0; turned < 4; ++turned) {
            const bool a = turned & 1, b = turned & 2;
            product<f32>(m, n, k, a, b, 1, 0, false);
            product<f32>(m, n, k, a, b, 3, 0.75, false);
            product<f32>(m, n, k, a, b, 2, 0, true);
            product<f64>(m, n, k, a, b, 2, 0, false);
            product<bf16>(m, n, k, a, b, 2, 0, false);
        }
    }
}

static void wrong_products() {
    const auto call = [](int lda, s64 step, int batch, bool in_place, cudaDataType type) {
        Array<f32> a(9), b(9), c(9);
        const f32 one = 1, nothing = 0;
        cublasCreate_v2(&blas);
        f32 *const result = in_place ? a.first : c.first;
        cublasGemmStridedBatchedEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 3, 3, 3, &one, a.first, type, lda, 0, b.first, type,
                                   3, 0, &nothing, result, type, 3, step, batch, CUBLAS_COMPUTE_32F,
                                   CUBLAS_GEMM_DEFAULT);
    };
    expect_said("leading dimension 2 of 3 rows", [=] { call(2, 9, 1, false, CUDA_R_32F); });
    expect_said("44 bytes from", [=] { call(4, 9, 1, false, CUDA_R_32F); });
    expect_said("results of 3 x 3 overlap", [=] { call(3, 8, 2, false, CUDA_R_32F); });
    expect_said("72 bytes from", [=] { call(3, 9, 2, false, CUDA_R_32F); });
    expect_said("the result lies over a factor", [=] { call(3, 9, 1, true, CUDA_R_32F); });
    expect_said("are not emulated", [=] { call(3, 9, 1, false, CUDA_R_16F); });
}

// ---- cuDNN

static cudnnHandle_t dnn;

struct Case {
    int images, channels, height, width, kernels, kernel_height, kernel_width, padding, stride;
};

struct Descriptors {
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t convolution;
    int height, width;

    Descriptors(const Case &c, cudnnDataType_t type, cudnnMathType_t math,
                cudnnTensorFormat_t format = CUDNN_TENSOR_NCHW) {
        height = (c.height + 2 * c.padding - c.kernel_height) / c.stride + 1;
        width = (c.width + 2 * c.padding - c.kernel_width) / c.stride + 1;
        int wrong = cudnnCreateTensorDescriptor(&x) | cudnnCreateTensorDescriptor(&y);
        wrong |= cudnnCreateFilterDescriptor(&w) | cudnnCreateConvolutionDescriptor(&convolution);
        wrong |= cudnnSetTensor4dDescriptor(x, format, type, c.images, c.channels, c.height, c.width);
        wrong |= cudnnSetTensor4dDescriptor(y, format, type, c.images, c.kernels, height, width);
        wrong |= cudnnSetFilter4dDescriptor(w, type, format, c.kernels, c.channels, c.kernel_height,
                                            c.kernel_width);
        wrong |= cudnnSetConvolution2dDescriptor(convolution, c.padding, c.padding, c.stride, c.stride, 1, 1,
                                                 CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
        wrong |= cudnnSetConvolutionMathType(convolution, math);
        expect(!wrong, "descriptors");
    }
    ~Descriptors() {
        cudnnDestroyTensorDescriptor(x);
        cudnnDestroyTensorDescriptor(y);
        cudnnDestroyFilterDescriptor(w);
        cudnnDestroyConvolutionDescriptor(convolution);
    }
};

enum Direction { FORWARD, DATA, FILTER };

template <class T>
static int convolve(const Descriptors &d, Direction direction, Array<T> &x, Array<T> &w, Array<T> &y, f32 beta) {
    const f32 alpha = 0.5f;
    size_t bytes = 0;
    int returned = 0, wrong = 0;
    if (direction == FORWARD) {
        cudnnConvolutionFwdAlgoPerf_t choice;
        wrong |= cudnnGetConvolutionForwardAlgorithm_v7(dnn, d.x, d.w, d.convolution, d.y, 1, &returned, &choice);
        wrong |= cudnnGetConvolutionForwardWorkspaceSize(dnn, d.x, d.w, d.convolution, d.y, choice.algo, &bytes);
        Array<u8> space(bytes);
        return wrong | cudnnConvolutionForward(dnn, &alpha, d.x, x.first, d.w, w.first, d.convolution, choice.algo,
                                               space.first, bytes, &beta, d.y, y.first);
    }
    if (direction == DATA) {
        cudnnConvolutionBwdDataAlgoPerf_t choice;
        wrong |= cudnnGetConvolutionBackwardDataAlgorithm_v7(dnn, d.w, d.y, d.convolution, d.x, 1, &returned, &choice);
        wrong |= cudnnGetConvolutionBackwardDataWorkspaceSize(dnn, d.w, d.y, d.convolution, d.x, choice.algo, &bytes);
        Array<u8> space(bytes);
        return wrong | cudnnConvolutionBackwardData(dnn, &alpha, d.w, w.first, d.y, y.first, d.convolution, choice.algo,
                                                    space.first, bytes, &beta, d.x, x.first);
    }
    cudnnConvolutionBwdFilterAlgoPerf_t choice;
    wrong |= cudnnGetConvolutionBackwardFilterAlgorithm_v7(dnn, d.x, d.y, d.convolution, d.w, 1, &returned, &choice);
    wrong |= cudnnGetConvolutionBackwardFilterWorkspaceSize(dnn, d.x, d.y, d.convolution, d.w, choice.algo, &bytes);
    Array<u8> space(bytes);
    return wrong | cudnnConvolutionBackwardFilter(dnn, &alpha, d.x, x.first, d.y, y.first, d.convolution, choice.algo,
                                                  space.first, bytes, &beta, d.w, w.first);
}

template <class T> static void convolution(const Case &c, Direction direction, f32 beta, bool tf32, bool channels_last = false) {
    const auto type = std::is_same_v<T, bf16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const Descriptors d(c, type, tf32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH,
                        channels_last ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW);
    Array<T> x(size_t(c.images) * c.channels * c.height * c.width);
    Array<T> y(size_t(c.images) * c.kernels * d.height * d.width);
    Array<T> w(size_t(c.kernels) * c.channels * c.kernel_height * c.kernel_width);
    Array<T> *const tensors[] = {&y, &x, &w}, &result = *tensors[direction];
    for (Array<T> *tensor : tensors) {
        if (tensor != &result) {
            tensor->fill();
        }
    }
    Expected expected(result.count);
    expected.keep(result, beta);
    const auto at = [&](int n, int channel, int channels, int height, int y, int width, int x) {
        return channels_last ? ((size_t(n) * height + y) * width + x) * channels + channel
                             : ((size_t(n) * channels + channel) * height + y) * width + x;
    };
    const auto each = [&](int n, int o, int i, int a, int b, int r, int s) {
        const int row = a * c.stride - c.padding + r, column = b * c.stride - c.padding + s;
        if (row < 0 || row >= c.height || column < 0 || column >= c.width) {
            return;
        }
        const size_t in_x = at(n, i, c.channels, c.height, row, c.width, column);
        const size_t in_y = at(n, o, c.kernels, d.height, a, d.width, b);
        const size_t in_w = at(o, i, c.channels, c.kernel_height, r, c.kernel_width, s);
        switch (direction) {
            case FORWARD: return expected.add(in_y, 0.5 * f64(x[in_x]) * f64(w[in_w]));
            case DATA: return expected.add(in_x, 0.5 * f64(y[in_y]) * f64(w[in_w]));
            case FILTER: return expected.add(in_w, 0.5 * f64(x[in_x]) * f64(y[in_y]));
        }
    };
    for (int n = 0; n < c.images; ++n) {
        for (int o = 0; o < c.kernels; ++o) {
            for (int i = 0; i < c.channels; ++i) {
                for (int place = 0; place < d.height * d.width; ++place) {
                    for (int tap = 0; tap < c.kernel_height * c.kernel_width; ++tap) {
                        each(n, o, i, place / d.width, place % d.width, tap / c.kernel_width, tap % c.kernel_width);
                    }
                }
            }
        }
    }
    char what[200];
    snprintf(what, sizeof what, "convolution in %zu bytes, direction %d, beta %g, TF32 %d, channels last %d: "
             "%d x %d x %d x %d by %d of %d x %d, padding %d, stride %d", sizeof(T), direction, f64(beta), tf32,
             channels_last,
             c.images, c.channels, c.height, c.width, c.kernels, c.kernel_height, c.kernel_width, c.padding, c.stride);
    expect(convolve(d, direction, x, w, y, beta) == CUDNN_STATUS_SUCCESS, what);
    compare(result, expected, tf32, what);
}

static void convolutions() {
    const Case cases[] = {{2, 3, 40, 37, 5, 3, 3, 1, 1}, {5, 4, 9, 7, 6, 3, 3, 1, 2}, {3, 64, 10, 11, 32, 1, 1, 0, 1},
                          {1, 2, 6, 9, 3, 1, 1, 0, 2},   {2, 3, 8, 8, 4, 2, 2, 0, 2}, {1, 3, 7, 5, 2, 3, 3, 3, 1},
                          {1, 3, 12, 3, 4, 3, 1, 1, 2},  {1, 1, 1, 1, 1, 1, 1, 0, 1}, {2, 3, 33, 35, 17, 7, 7, 3, 2}};
    for (const Case &c : cases) {
        for (const Direction direction : {FORWARD, DATA, FILTER}) {
            convolution<f32>(c, direction, 0, false);
            convolution<f32>(c, direction, 1, false);
            convolution<f32>(c, direction, 0, true);
            convolution<bf16>(c, direction, 0, false);
            convolution<f32>(c, direction, 1, true, true);
            convolution<bf16>(c, direction, 0, false, true);
        }
    }
}

struct Mistake {
    size_t workspace_bytes = 4096, allocated_bytes = 4096;
    bool in_place = false;
    int algorithm = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    int width_of_y = 9;
    cudnnTensorFormat_t format_of_y = CUDNN_TENSOR_NCHW;
};

static void wrong_convolutions() {
    const auto call = [](const Mistake &mistake) {
        cudnnCreate(&dnn);
        const Descriptors d({2, 3, 10, 9, 3, 3, 3, 1, 1}, CUDNN_DATA_FLOAT, CUDNN_FMA_MATH);
        Array<f32> x(540), w(81), y(540);
        Array<u8> space(mistake.allocated_bytes);
        const f32 one = 1, nothing = 0;
        cudnnSetTensor4dDescriptor(d.y, mistake.format_of_y, CUDNN_DATA_FLOAT, 2, 3, 10, mistake.width_of_y);
        cudnnConvolutionForward(dnn, &one, d.x, x.first, d.w, w.first, d.convolution,
                                cudnnConvolutionFwdAlgo_t(mistake.algorithm), space.first, mistake.workspace_bytes,
                                &nothing, d.y, mistake.in_place ? x.first : y.first);
    };
    const auto with = [&](auto &&change) {
        return [&call, change] {
            Mistake mistake;
            change(mistake);
            call(mistake);
        };
    };
    expect_said("workspace of 4095 bytes, 4096 are needed", with([](Mistake &m) { m.workspace_bytes = 4095; }));
    expect_said("workspace: 4096 bytes", with([](Mistake &m) { m.allocated_bytes = 4000; }));
    expect_said("y lies over x", with([](Mistake &m) { m.in_place = true; }));
    expect_said("algorithm 3 is not emulated", with([](Mistake &m) { m.algorithm = 3; }));
    expect_said("y is 2 x 3 x 10 x 10 and should be 2 x 3 x 10 x 9", with([](Mistake &m) { m.width_of_y = 10; }));
    expect_said("in differing formats", with([](Mistake &m) { m.format_of_y = CUDNN_TENSOR_NHWC; }));
    expect_said("more than 2^31 - 1 elements", [] {
        cudnnTensorDescriptor_t tensor;
        cudnnCreateTensorDescriptor(&tensor);
        cudnnSetTensor4dDescriptor(tensor, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, 300, 32, 640, 640);
    });
}

// ---- cuRAND

static void random_numbers() {
    curandGenerator_t generator;
    Array<f32> x(100'001);
    Array<f64> y(1001);
    int wrong = curandCreateGenerator(&generator, CURAND_RNG_PSEUDO_DEFAULT);
    wrong |= curandSetPseudoRandomGeneratorSeed(generator, 5);
    wrong |= curandGenerateUniform(generator, x.first, x.count);
    wrong |= curandGenerateUniformDouble(generator, y.first, y.count);
    f64 sum = 0;
    for (size_t i = 0; i < x.count; ++i) {
        wrong |= !(x[i] > 0 && x[i] <= 1);
        sum += x[i];
    }
    for (size_t i = 0; i < y.count; ++i) {
        wrong |= !(y[i] > 0 && y[i] <= 1);
    }
    wrong |= curandDestroyGenerator(generator);
    expect(!wrong && std::fabs(sum / f64(x.count) - 0.5) < 0.01, "uniform numbers");
}

int main() {
    // First those that fork, before there are threads.
    wrong_products();
    wrong_convolutions();
    cublasCreate_v2(&blas);
    cudnnCreate(&dnn);
    products();
    convolutions();
    random_numbers();
    return summary("libraries");
}
