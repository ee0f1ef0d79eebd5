/* Start-up, devices, contexts. */
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator.h"

using emulator::setting;
using emulator::state;

namespace {

constexpr int kMostDevices = 4;
CUctx_st contexts[kMostDevices] = {{0}, {1}, {2}, {3}};
bool initialised = false;
thread_local std::vector<CUcontext> stack;

bool exists(CUdevice device) { return device >= 0 && device < setting("HZ_EMULATED_DEVICES", 1); }

}  // namespace

namespace emulator {

State& state() {
    static State* shared = [] {
        auto* made = new State; /* never destroyed: atexit handlers of others still call us */
        const char* mode = std::getenv("HZ_EMULATED_STREAMS");
        made->eager = mode && !std::strcmp(mode, "eager");
        made->memory = setting("HZ_EMULATED_MEMORY", 1 << 30);
        return made;
    }();
    return *shared;
}

int setting(const char* name, int fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::atoi(text) : fallback;
}

CUresult require_context() {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (stack.empty() || !stack.back()) return CUDA_ERROR_INVALID_CONTEXT;
    return state().broken;
}

}  // namespace emulator

HZ_EXPORT CUresult cuInit(unsigned flags) {
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    const auto status = static_cast<CUresult>(setting("HZ_EMULATED_INIT", 0));
    if (status == CUDA_SUCCESS && !exists(0)) return CUDA_ERROR_NO_DEVICE;
    initialised = status == CUDA_SUCCESS;
    return status;
}

HZ_EXPORT CUresult cuDriverGetVersion(int* version) {
    *version = setting("HZ_EMULATED_DRIVER", 13000);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGetErrorString(CUresult error, const char** text) {
    switch (error) {
        case CUDA_SUCCESS:
            *text = "no error";
            break;
        case CUDA_ERROR_OUT_OF_MEMORY:
            *text = "out of memory";
            break;
        case CUDA_ERROR_NO_DEVICE:
            *text = "no CUDA-capable device is detected";
            break;
        case CUDA_ERROR_INVALID_VALUE:
            *text = "invalid argument";
            break;
        case CUDA_ERROR_INVALID_CONTEXT:
            *text = "invalid device context";
            break;
        case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED:
            *text = "operation not permitted when stream is capturing";
            break;
        default:
            *text = "emulated driver error";
            break;
    }
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuGetErrorName(CUresult error, const char** name) {
    static thread_local char text[32];
    std::snprintf(text, sizeof text, "CUresult %d", static_cast<int>(error));
    *name = text;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceGetCount(int* count) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    *count = setting("HZ_EMULATED_DEVICES", 1);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (!exists(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceGetName(char* name, int size, CUdevice device) {
    if (!exists(device)) return CUDA_ERROR_INVALID_DEVICE;
    std::snprintf(name, static_cast<size_t>(size), "Emulated GPU %d", device);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceGetPCIBusId(char* id, int size, CUdevice device) {
    std::snprintf(id, static_cast<size_t>(size), "0000:%02x:00.0", device);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
    if (!exists(device)) return CUDA_ERROR_INVALID_DEVICE;
    *major = setting("HZ_EMULATED_CAPABILITY", 86) / 10;
    *minor = setting("HZ_EMULATED_CAPABILITY", 86) % 10;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
    if (!exists(device)) return CUDA_ERROR_INVALID_DEVICE;
    *bytes = static_cast<size_t>(state().memory);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    if (!exists(device)) return CUDA_ERROR_INVALID_DEVICE;
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
            *value = setting("HZ_EMULATED_CAPABILITY", 86) / 10;
            break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
            *value = setting("HZ_EMULATED_CAPABILITY", 86) % 10;
            break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
            *value = 4;
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
            *value = 1024;
            break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
            *value = 32;
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
            *value = 48 << 10;
            break;
        default:
            *value = 1;
            break;
    }
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    if (!exists(device)) return CUDA_ERROR_INVALID_DEVICE;
    std::lock_guard<std::recursive_mutex> lock(state().mutex);
    ++state().counts.primary_retained;
    *context = &contexts[device];
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
    std::lock_guard<std::recursive_mutex> lock(state().mutex);
    --state().counts.primary_retained;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) {
    *flags = 0;
    *active = state().counts.primary_retained > 0;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) {
    stack.push_back(context);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context) *context = stack.back();
    stack.pop_back();
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    if (stack.empty())
        stack.push_back(context);
    else
        stack.back() = context;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
    *context = stack.empty() ? nullptr : stack.back();
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxGetDevice(CUdevice* device) {
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    *device = stack.back()->device;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuCtxSynchronize() {
    if (CUresult status = emulator::require_context()) return status;
    return emulator::finish_all();
}

HZ_EXPORT CUresult cuCtxGetApiVersion(CUcontext, unsigned* version) {
    *version = 13000;
    return CUDA_SUCCESS;
}

/* What cuda-bindings asks for every function: the newest variant that is here. */
HZ_EXPORT CUresult cuGetProcAddress_v2(const char* symbol, void** function, int, cuuint64_t,
                                       CUdriverProcAddressQueryResult* result) {
    *function = nullptr;
    for (const char* suffix : {"_v4", "_v3", "_v2", ""})
        if (!*function) *function = dlsym(RTLD_DEFAULT, (symbol + std::string(suffix)).c_str());
    if (!*function) {
        static void* self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        for (const char* suffix : {"_v4", "_v3", "_v2", ""})
            if (!*function) *function = dlsym(self, (symbol + std::string(suffix)).c_str());
    }
    if (result)
        *result = *function ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *function ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* NVRTC calls it without looking whether it is there. */
HZ_EXPORT CUresult cuGetExportTable(const void** table, const CUuuid*) {
    *table = nullptr;
    return CUDA_ERROR_NOT_FOUND;
}

HZ_EXPORT CUresult cuProfilerStart() { return CUDA_SUCCESS; }
HZ_EXPORT CUresult cuProfilerStop() { return CUDA_SUCCESS; }

/* For the tests, through ctypes. */
HZ_EXPORT void hz_driver_counts(emulator::Counts* counts) {
    std::lock_guard<std::recursive_mutex> lock(state().mutex);
    *counts = state().counts;
}

HZ_EXPORT void hz_driver_set_memory(int64_t bytes) { state().memory = bytes; }
HZ_EXPORT void hz_driver_fail_after(int64_t allocations) { state().fail_after = allocations; }
