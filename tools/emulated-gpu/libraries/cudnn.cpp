// cuDNN: convolutions of two dimensions and their gradients, in f32 (also by TF32) and bf16, of dense tensors (all NCHW
// or all NHWC) without dilation and groups. What else the descriptors can say is refused.
#include "cudnn_descriptors.h"

namespace {

// ---- Problems: descriptors that fit one another.

// The result of a conv, the gradient of its images, that of its kernels.
enum class Direction { FORWARD, DATA, FILTER };

struct Problem {
    Convolution shape;
    cudnnDataType_t type;
    cudnnMathType_t math;

    size_t bytes(const Sizes &of) const { return of.count() * bytes_of(type); }
};

cudnnStatus_t problem_of(const char *call_name, Problem &problem, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                         cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                         cudnnTensorDescriptor_t y) {
    if (!is(handle, Kind::HANDLE)) {
        REFUSE(CUDNN_STATUS_NOT_INITIALIZED, "%s: %p is no handle", call_name, (void *)handle);
    }
    if (!is(x, Kind::TENSOR) || !is(w, Kind::FILTER) || !is(y, Kind::TENSOR) || !is(conv, Kind::CONVOLUTION) ||
        !x->sizes.n || !w->sizes.n || !y->sizes.n || !conv->set) {
        BAD("%s: a descriptor is none, or was never set", call_name);
    }
    if (x->type != w->type || x->type != y->type) {
        NOT_SUPPORTED("%s: types x %d, w %d, y %d", call_name, x->type, w->type, y->type);
    }
    const auto &[kind, padding, stride, math, set] = *conv;
    if (x->sizes.c != w->sizes.c) {
        BAD("%s: images of %ld channels, kernels of %ld", call_name, x->sizes.c, w->sizes.c);
    }
    const s64 room_h = x->sizes.h + 2 * padding[0] - w->sizes.h, room_w = x->sizes.w + 2 * padding[1] - w->sizes.w;
    if (room_h < 0 || room_w < 0) {
        BAD("%s: kernels of %ld x %ld on padded images of %ld x %ld", call_name, w->sizes.h, w->sizes.w,
            x->sizes.h + 2 * padding[0], x->sizes.w + 2 * padding[1]);
    }
    const bool last = x->sizes.channels_last;
    if (w->sizes.channels_last != last || y->sizes.channels_last != last) {
        NOT_SUPPORTED("%s: x, w and y in differing formats are not emulated", call_name);
    }
    const Sizes expected{x->sizes.n, w->sizes.n, room_h / stride[0] + 1, room_w / stride[1] + 1, last};
    if (!(y->sizes == expected)) {
        BAD("%s: y is %ld x %ld x %ld x %ld and should be %ld x %ld x %ld x %ld", call_name, y->sizes.n, y->sizes.c,
            y->sizes.h, y->sizes.w, expected.n, expected.c, expected.h, expected.w);
    }
    problem.shape = {x->sizes, w->sizes, y->sizes, {padding[0], padding[1]}, {stride[0], stride[1]}};
    problem.type = x->type;
    problem.math = math;
    return CUDNN_STATUS_SUCCESS;
}

// ---- Algorithms. In each direction 0 needs no workspace and 1, which is chosen, needs some; both are emulated by the
// same arithmetic. The gradients' number 0 sums in any order on a GPU.

constexpr int ALGORITHMS = 2, CHOSEN = 1;

size_t workspace_of(int algorithm) { return algorithm == 0 ? 0 : 4096; }

template <class Algorithm, class Choice>
cudnnStatus_t choose(const char *call_name, Direction direction, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                     cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y,
                     int asked, int *returned, Choice *choices) {
    Problem problem;
    RETURN_IF_BAD(problem_of(call_name, problem, handle, x, w, conv, y));
    if (asked < 1) {
        BAD("%s: %d results asked for", call_name, asked);
    }
    *returned = std::min(asked, ALGORITHMS);
    for (int i = 0; i < *returned; ++i) {
        const int algorithm = i == 0 ? CHOSEN : 1 - CHOSEN;
        const bool any_order = direction != Direction::FORWARD && algorithm == 0;
        choices[i] = {};
        choices[i].algo = Algorithm(algorithm);
        choices[i].status = CUDNN_STATUS_SUCCESS;
        choices[i].memory = workspace_of(algorithm);
        choices[i].determinism = any_order ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
        choices[i].mathType = problem.math;
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t say_workspace(const char *call_name, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                            cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                            cudnnTensorDescriptor_t y, int algorithm, size_t *bytes) {
    Problem problem;
    RETURN_IF_BAD(problem_of(call_name, problem, handle, x, w, conv, y));
    if (algorithm < 0 || algorithm >= ALGORITHMS) {
        NOT_SUPPORTED("%s: algorithm %d is not emulated", call_name, algorithm);
    }
    *bytes = workspace_of(algorithm);
    return CUDNN_STATUS_SUCCESS;
}

// ---- Calls

template <class T>
void convolve(const Problem &problem, Direction direction, const Tensors<T> &tensors, f32 alpha, f32 beta) {
    const bool tf32 = problem.type == CUDNN_DATA_FLOAT && problem.math != CUDNN_FMA_MATH;
    const Precision precision = tf32 ? Precision::TF32 : Precision::WHOLE;
    switch (direction) {
        case Direction::FORWARD: return forward(problem.shape, tensors, alpha, beta, precision);
        case Direction::DATA: return gradient_of_images(problem.shape, tensors, alpha, beta, precision);
        case Direction::FILTER: return gradient_of_kernels(problem.shape, tensors, alpha, beta, precision);
    }
}

cudnnStatus_t run(const char *call_name, Direction direction, cudnnHandle_t handle, const void *alpha,
                  cudnnTensorDescriptor_t x_descriptor, const void *x, cudnnFilterDescriptor_t w_descriptor,
                  const void *w, cudnnConvolutionDescriptor_t conv, int algorithm, void *workspace,
                  size_t workspace_bytes, const void *beta, cudnnTensorDescriptor_t y_descriptor, const void *y) {
    Problem p;
    RETURN_IF_BAD(problem_of(call_name, p, handle, x_descriptor, w_descriptor, conv, y_descriptor));
    const Use use(handle->busy);
    if (!use.alone) {
        BAD("%s: two threads use one handle at once", call_name);
    }
    size_t needed;
    RETURN_IF_BAD(say_workspace(call_name, handle, x_descriptor, w_descriptor, conv, y_descriptor, algorithm,
                                &needed));
    if (p.shape.x.channels_last && getenv("EMULATED_GPU_REFUSES_NHWC")) {
        // Without a word: that it is asked for is no mistake.
        return CUDNN_STATUS_NOT_SUPPORTED;
    }
    if (workspace_bytes < needed) {
        BAD("%s: workspace of %zu bytes, %zu are needed", call_name, workspace_bytes, needed);
    }
    Call call(call_name);
    struct Memory {
        const char *name;
        const void *first;
        size_t bytes;
    };
    const Memory all[] = {
        {"x", x, p.bytes(p.shape.x)},
        {"w", w, p.bytes(p.shape.w)},
        {"y", y, p.bytes(p.shape.y)},
        {"workspace", workspace, needed},
    };
    const Memory &written = all[direction == Direction::FORWARD ? 2 : direction == Direction::DATA ? 0 : 1];
    for (const Memory &memory : all) {
        if (!is_aligned(memory.first, bytes_of(p.type))) {
            REFUSE(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "%s: %s: misaligned %p", call_name, memory.name,
                   memory.first);
        }
        if (!emulated_gpu_holds(memory.first, memory.bytes)) {
            REFUSE(CUDNN_STATUS_EXECUTION_FAILED, "%s: %s: %zu bytes from %p are not in one allocation", call_name,
                   memory.name, memory.bytes, memory.first);
        }
        for (const Memory &own : {written, all[3]}) {
            if (own.name != memory.name && overlap(memory.first, memory.bytes, own.first, own.bytes)) {
                BAD("%s: %s lies over %s", call_name, own.name, memory.name);
            }
        }
        call.bytes += double(memory.bytes);
    }
    // It is used, as on a GPU: what was there is lost.
    if (needed > 0) {
        memset(workspace, 0xff, needed);
    }
    const f32 scale = *(const f32 *)alpha, keep = *(const f32 *)beta;
    if (p.type == CUDNN_DATA_FLOAT) {
        convolve<f32>(p, direction, {(f32 *)x, (f32 *)w, (f32 *)y}, scale, keep);
    } else {
        convolve<bf16>(p, direction, {(bf16 *)x, (bf16 *)w, (bf16 *)y}, scale, keep);
    }
    return CUDNN_STATUS_SUCCESS;
}

} // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) { return create(handle); }

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return destroy(__func__, handle, Kind::HANDLE); }

cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; }

// ---- Descriptors

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *tensor) { return create(tensor); }

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) {
    return destroy(__func__, tensor, Kind::TENSOR);
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensor, cudnnTensorFormat_t format,
                                         cudnnDataType_t type, int n, int c, int h, int w) {
    if (!is_emulated(format)) {
        NOT_SUPPORTED("%s: format %d is not emulated", __func__, format);
    }
    return set_sizes(__func__, tensor, Kind::TENSOR, type, {n, c, h, w, format == CUDNN_TENSOR_NHWC});
}

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t, cudnnDataType_t, int, int, int, int, int, int, int,
                                           int) {
    NOT_SUPPORTED("%s is not emulated", __func__);
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *filter) { return create(filter); }

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) {
    return destroy(__func__, filter, Kind::FILTER);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
    if (!is_emulated(format)) {
        NOT_SUPPORTED("%s: format %d is not emulated", __func__, format);
    }
    return set_sizes(__func__, filter, Kind::FILTER, type, {k, c, h, w, format == CUDNN_TENSOR_NHWC});
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *conv) { return create(conv); }

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t conv) {
    return destroy(__func__, conv, Kind::CONVOLUTION);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t conv, int padding_h, int padding_w,
                                              int stride_h, int stride_w, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t compute_type) {
    if (!is(conv, Kind::CONVOLUTION)) {
        BAD("%s: %p is no descriptor", __func__, (void *)conv);
    }
    if (padding_h < 0 || padding_w < 0 || stride_h < 1 || stride_w < 1) {
        BAD("%s: padding %d %d, stride %d %d", __func__, padding_h, padding_w, stride_h, stride_w);
    }
    if (dilation_h != 1 || dilation_w != 1 || mode != CUDNN_CROSS_CORRELATION || compute_type != CUDNN_DATA_FLOAT) {
        NOT_SUPPORTED("%s: dilation %d %d, mode %d and compute type %d are not emulated", __func__, dilation_h,
                      dilation_w, mode, compute_type);
    }
    *conv = {Kind::CONVOLUTION, {padding_h, padding_w}, {stride_h, stride_w}, CUDNN_DEFAULT_MATH, true};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t conv, cudnnMathType_t math) {
    if (!is(conv, Kind::CONVOLUTION) || math < CUDNN_DEFAULT_MATH || math > CUDNN_FMA_MATH) {
        BAD("%s: %p, %d", __func__, (void *)conv, math);
    }
    conv->math = math;
    return CUDNN_STATUS_SUCCESS;
}

// ---- Convolutions

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t y, int asked, int *returned, cudnnConvolutionFwdAlgoPerf_t *choices) {
    return choose<cudnnConvolutionFwdAlgo_t>(__func__, Direction::FORWARD, handle, x, w, conv, y, asked, returned,
                                             choices);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t y, cudnnConvolutionDescriptor_t conv,
    cudnnTensorDescriptor_t x, int asked, int *returned, cudnnConvolutionBwdDataAlgoPerf_t *choices) {
    return choose<cudnnConvolutionBwdDataAlgo_t>(__func__, Direction::DATA, handle, x, w, conv, y, asked, returned,
                                                 choices);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t y, cudnnConvolutionDescriptor_t conv,
    cudnnFilterDescriptor_t w, int asked, int *returned, cudnnConvolutionBwdFilterAlgoPerf_t *choices) {
    return choose<cudnnConvolutionBwdFilterAlgo_t>(__func__, Direction::FILTER, handle, x, w, conv, y, asked,
                                                   returned, choices);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                      cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv,
                                                      cudnnTensorDescriptor_t y, cudnnConvolutionFwdAlgo_t algorithm,
                                                      size_t *bytes) {
    return say_workspace(__func__, handle, x, w, conv, y, algorithm, bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t handle, cudnnFilterDescriptor_t w,
                                                           cudnnTensorDescriptor_t y,
                                                           cudnnConvolutionDescriptor_t conv,
                                                           cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t algorithm, size_t *bytes) {
    return say_workspace(__func__, handle, x, w, conv, y, algorithm, bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t handle, cudnnTensorDescriptor_t x,
                                                             cudnnTensorDescriptor_t y,
                                                             cudnnConvolutionDescriptor_t conv,
                                                             cudnnFilterDescriptor_t w,
                                                             cudnnConvolutionBwdFilterAlgo_t algorithm, size_t *bytes) {
    return say_workspace(__func__, handle, x, w, conv, y, algorithm, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x_descriptor,
                                      const void *x, cudnnFilterDescriptor_t w_descriptor, const void *w,
                                      cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algorithm,
                                      void *workspace, size_t workspace_bytes, const void *beta,
                                      cudnnTensorDescriptor_t y_descriptor, void *y) {
    return run(__func__, Direction::FORWARD, handle, alpha, x_descriptor, x, w_descriptor, w, conv, algorithm,
               workspace, workspace_bytes, beta, y_descriptor, y);
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha,
                                           cudnnFilterDescriptor_t w_descriptor, const void *w,
                                           cudnnTensorDescriptor_t y_descriptor, const void *y,
                                           cudnnConvolutionDescriptor_t conv,
                                           cudnnConvolutionBwdDataAlgo_t algorithm, void *workspace,
                                           size_t workspace_bytes, const void *beta,
                                           cudnnTensorDescriptor_t x_descriptor, void *x) {
    return run(__func__, Direction::DATA, handle, alpha, x_descriptor, x, w_descriptor, w, conv, algorithm,
               workspace, workspace_bytes, beta, y_descriptor, y);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha,
                                             cudnnTensorDescriptor_t x_descriptor, const void *x,
                                             cudnnTensorDescriptor_t y_descriptor, const void *y,
                                             cudnnConvolutionDescriptor_t conv,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void *workspace,
                                             size_t workspace_bytes, const void *beta,
                                             cudnnFilterDescriptor_t w_descriptor, void *w) {
    return run(__func__, Direction::FILTER, handle, alpha, x_descriptor, x, w_descriptor, w, conv, algorithm,
               workspace, workspace_bytes, beta, y_descriptor, y);
}

} // extern "C"
