// Devices, contexts, streams and events. All work is done within its call, so streams and events have nothing to do.
#include <cstdlib>

#include "driver.h"

std::recursive_mutex driver_mutex;

namespace {

// A context is its device's number beside this, so that a null is none.
constexpr size_t CONTEXTS = 0x1000;
thread_local CUcontext current_context;

int device_count() {
    const char *const wanted = getenv("EMULATED_GPU_DEVICES");
    return wanted ? atoi(wanted) : 1;
}

} // namespace

int emulated_gpu_device() { return current_context ? int(size_t(current_context) - CONTEXTS) : -1; }

extern "C" {

CUresult cuInit(unsigned) {
    start_statistics();
    return CUDA_SUCCESS;
}

// NVRTC asks for tables of undocumented functions, and does without.
CUresult cuGetExportTable(const void **table, const CUuuid *) {
    *table = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
    static thread_local char buffer[100];
    snprintf(buffer, sizeof buffer, "error %d of the emulated GPU, whose lines in the output say more", error);
    *text = buffer;
    return CUDA_SUCCESS;
}

// ---- Devices

CUresult cuDeviceGetCount(int *count) {
    *count = device_count();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    if (ordinal < 0 || ordinal >= device_count()) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; return CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; return CUDA_SUCCESS;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; return CUDA_SUCCESS;
        default: say("cuDeviceGetAttribute: attribute %d is not known", attribute); return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice) {
    *pool = nullptr;
    return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void *) { return CUDA_SUCCESS; }

// ---- Contexts

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = CUcontext(CONTEXTS + size_t(device));
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }

CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = current_context;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
    current_context = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxDestroy_v2(CUcontext) { return CUDA_SUCCESS; }

// ---- Streams and events

CUresult cuStreamSynchronize(CUstream) {
    const Call call("cuStreamSynchronize");
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned) {
    const Call call("cuStreamWaitEvent");
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus *status) {
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream) { return CUDA_SUCCESS; }

CUresult cuEventCreate(CUevent *event, unsigned) {
    *event = nullptr;
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent, CUstream) {
    const Call call("cuEventRecord");
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent) { return CUDA_SUCCESS; }

} // extern "C"
