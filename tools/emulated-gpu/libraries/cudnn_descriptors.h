// cuDNN's handles and descriptors.
#pragma once
#include <cudnn.h>

#include "checks.h"
#include "convolution.h"

#define BAD(...) REFUSE(CUDNN_STATUS_BAD_PARAM, __VA_ARGS__)
#define NOT_SUPPORTED(...) REFUSE(CUDNN_STATUS_NOT_SUPPORTED, __VA_ARGS__)
#define RETURN_IF_BAD(call)                                  \
    if (const cudnnStatus_t status = call) { return status; }

// Handles and descriptors begin with what they are, until they are destroyed.
enum class Kind : u64 { NONE = 0, HANDLE = 0xcdccdccdccdc0001, TENSOR, FILTER, CONVOLUTION };

// The bytes of a number; 0 for those that are not emulated.
inline size_t bytes_of(cudnnDataType_t type) {
    return type == CUDNN_DATA_FLOAT ? sizeof(f32) : type == CUDNN_DATA_BFLOAT16 ? sizeof(bf16) : 0;
}

struct cudnnContext {
    Kind kind = Kind::HANDLE;
    std::atomic<bool> busy{false};
};

struct cudnnTensorStruct {
    Kind kind = Kind::TENSOR;
    cudnnDataType_t type;
    // All 0 until they are set.
    Sizes sizes{};
};

struct cudnnFilterStruct {
    Kind kind = Kind::FILTER;
    cudnnDataType_t type;
    // Kernels, channels, height and width.
    Sizes sizes{};
};

struct cudnnConvolutionStruct {
    Kind kind = Kind::CONVOLUTION;
    s64 padding[2], stride[2];
    cudnnMathType_t math = CUDNN_DEFAULT_MATH;
    bool set = false;
};

template <class Object> cudnnStatus_t create(Object **object) {
    *object = new Object;
    return CUDNN_STATUS_SUCCESS;
}

template <class Object> bool is(const Object *object, Kind kind) { return object && object->kind == kind; }

template <class Object> cudnnStatus_t destroy(const char *call_name, Object *object, Kind kind) {
    if (!is(object, kind)) {
        BAD("%s: %p is none", call_name, (void *)object);
    }
    object->kind = Kind::NONE;
    delete object;
    return CUDNN_STATUS_SUCCESS;
}

template <class Descriptor>
cudnnStatus_t set_sizes(const char *call_name, Descriptor *descriptor, Kind kind, cudnnDataType_t type, Sizes sizes) {
    if (!is(descriptor, kind)) {
        BAD("%s: %p is no descriptor", call_name, (void *)descriptor);
    }
    if (sizes.n <= 0 || sizes.c <= 0 || sizes.h <= 0 || sizes.w <= 0) {
        BAD("%s: sizes %ld %ld %ld %ld", call_name, sizes.n, sizes.c, sizes.h, sizes.w);
    }
    if (!bytes_of(type)) {
        NOT_SUPPORTED("%s: type %d is not emulated", call_name, type);
    }
    if (sizes.count() > INT32_MAX) {
        NOT_SUPPORTED("%s: more than 2^31 - 1 elements: %ld", call_name, sizes.count());
    }
    descriptor->type = type;
    descriptor->sizes = sizes;
    return CUDNN_STATUS_SUCCESS;
}

inline bool is_emulated(cudnnTensorFormat_t format) { return format == CUDNN_TENSOR_NCHW || format == CUDNN_TENSOR_NHWC; }
