// cuBLAS: batches of products of column-major matrices in f64, f32 (also by TF32) and bf16.
#include <cublas_v2.h>

#include "checks.h"
#include "product.h"

constexpr u64 LIVING = 0xb1a5b1a5b1a50001;

struct cublasContext {
    u64 state = LIVING;
    std::atomic<bool> busy{false};
};

#define INVALID(...) REFUSE(CUBLAS_STATUS_INVALID_VALUE, __VA_ARGS__)

namespace {

struct Matrix {
    // nullptr only where nothing is read.
    const void *first;
    cublasOperation_t operation;
    // As they are stored.
    s64 rows, columns;
    s64 leading;
    // From one of the batch to the next.
    s64 step;

    s64 elements(s64 batch) const { return rows && columns ? (batch - 1) * step + (columns - 1) * leading + rows : 0; }
};

Places steps(s64 count, s64 step) {
    Places places(count);
    for (s64 i = 0; i < count; ++i) {
        places[i] = i * step;
    }
    return places;
}

// c = alpha op(a) op(b) + beta c in numbers T, summed in S.
template <class S, class T>
cublasStatus_t multiply(const char *call_name, cublasHandle_t handle, s64 depth, S alpha, const Matrix &a,
                        const Matrix &b, S beta, const Matrix &c, s64 batch, Precision precision) {
    if (!handle || handle->state != LIVING) {
        REFUSE(CUBLAS_STATUS_NOT_INITIALIZED, "%s: %p is no handle", call_name, (void *)handle);
    }
    const Use use(handle->busy);
    if (!use.alone) {
        INVALID("%s: two threads use one handle at once", call_name);
    }
    for (const Matrix &matrix : {a, b, c}) {
        if (matrix.operation != CUBLAS_OP_N && matrix.operation != CUBLAS_OP_T) {
            INVALID("%s: operation %d is not emulated", call_name, matrix.operation);
        }
        if (matrix.rows < 0 || matrix.columns < 0 || batch < 0 || matrix.step < 0) {
            INVALID("%s: %ld x %ld, %ld of them in steps of %ld", call_name, matrix.rows, matrix.columns, batch,
                    matrix.step);
        }
        if (matrix.leading < std::max<s64>(1, matrix.rows)) {
            INVALID("%s: leading dimension %ld of %ld rows", call_name, matrix.leading, matrix.rows);
        }
    }
    if (c.rows == 0 || c.columns == 0 || batch == 0) {
        return CUBLAS_STATUS_SUCCESS;
    }
    if (batch > 1 && c.step < (c.columns - 1) * c.leading + c.rows) {
        INVALID("%s: results of %ld x %ld overlap in steps of %ld", call_name, c.rows, c.columns, c.step);
    }
    Call call(call_name);
    for (const Matrix &matrix : {a, b, c}) {
        const size_t bytes = matrix.elements(batch) * sizeof(T);
        if (!is_aligned(matrix.first, sizeof(T))) {
            INVALID("%s: misaligned %p", call_name, matrix.first);
        }
        if (!emulated_gpu_holds(matrix.first, bytes)) {
            REFUSE(CUBLAS_STATUS_EXECUTION_FAILED, "%s: %zu bytes from %p are not in one allocation", call_name, bytes,
                   matrix.first);
        }
        call.bytes += double(bytes);
    }
    for (const Matrix &read : {a, b}) {
        if (overlap(read.first, read.elements(batch) * sizeof(T), c.first, c.elements(batch) * sizeof(T))) {
            INVALID("%s: the result lies over a factor", call_name);
        }
    }
    const bool plain_a = a.operation == CUBLAS_OP_N, plain_b = b.operation == CUBLAS_OP_N;
    const Places a_rows = steps(c.rows, plain_a ? 1 : a.leading);
    const Places a_depths = steps(depth, plain_a ? a.leading : 1);
    const Places b_columns = steps(c.columns, plain_b ? b.leading : 1);
    const Places b_depths = steps(depth, plain_b ? 1 : b.leading);
    const Places c_rows = steps(c.rows, 1), c_columns = steps(c.columns, c.leading);
    for (s64 i = 0; i < batch; ++i) {
        const Factor<T> left{(const T *)a.first + i * a.step, a_rows.data(), a_depths.data()};
        const Factor<T> right{(const T *)b.first + i * b.step, b_columns.data(), b_depths.data()};
        const Result<T> result{(T *)c.first + i * c.step, c_rows.data(), c_columns.data()};
        Product<S>::compute(c.rows, c.columns, depth, alpha, left, right, beta, result, precision);
    }
    return CUBLAS_STATUS_SUCCESS;
}

Matrix factor(const void *first, cublasOperation_t operation, int rows, int columns, int leading, s64 step) {
    if (operation != CUBLAS_OP_N) {
        std::swap(rows, columns);
    }
    return {first, operation, rows, columns, leading, step};
}

} // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle) {
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    if (!handle || handle->state != LIVING) {
        REFUSE(CUBLAS_STATUS_NOT_INITIALIZED, "cublasDestroy: %p is no handle", (void *)handle);
    }
    handle->state = 0;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t operation_a,
                                         cublasOperation_t operation_b, int m, int n, int k, const double *alpha,
                                         const double *a, int lda, long long step_a, const double *b, int ldb,
                                         long long step_b, const double *beta, double *c, int ldc, long long step_c,
                                         int batch) {
    return multiply<f64, f64>(__func__, handle, k, *alpha, factor(a, operation_a, m, k, lda, step_a),
                              factor(b, operation_b, k, n, ldb, step_b), *beta,
                              factor(c, CUBLAS_OP_N, m, n, ldc, step_c), batch, Precision::WHOLE);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t operation_a,
                                          cublasOperation_t operation_b, int m, int n, int k, const void *alpha,
                                          const void *a, cudaDataType type_a, int lda, long long step_a, const void *b,
                                          cudaDataType type_b, int ldb, long long step_b, const void *beta, void *c,
                                          cudaDataType type_c, int ldc, long long step_c, int batch,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
    const Matrix left = factor(a, operation_a, m, k, lda, step_a), right = factor(b, operation_b, k, n, ldb, step_b);
    const Matrix result = factor(c, CUBLAS_OP_N, m, n, ldc, step_c);
    const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    if (type_a == type_b && type_b == type_c && (tf32 || compute == CUBLAS_COMPUTE_32F)) {
        const f32 scale = *(const f32 *)alpha, keep = *(const f32 *)beta;
        if (type_a == CUDA_R_32F) {
            return multiply<f32, f32>(__func__, handle, k, scale, left, right, keep, result, batch,
                                      tf32 ? Precision::TF32 : Precision::WHOLE);
        }
        if (type_a == CUDA_R_16BF && !tf32) {
            return multiply<f32, bf16>(__func__, handle, k, scale, left, right, keep, result, batch, Precision::WHOLE);
        }
    }
    REFUSE(CUBLAS_STATUS_NOT_SUPPORTED, "%s: types %d, %d and %d with compute type %d are not emulated", __func__,
           type_a, type_b, type_c, compute);
}

} // extern "C"
