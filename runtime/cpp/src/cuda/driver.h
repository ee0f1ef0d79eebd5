/* The few functions of the CUDA driver that drawing needs. They are looked up when the first CUDA
   renderer is created, so that the library loads where no driver is, and declared here, so that
   it is built without a CUDA toolkit; a test holds the declarations against cuda.h. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;

namespace hz_cuda {

typedef int Result; /* CUresult */
typedef int Device;
typedef unsigned long long Address; /* CUdeviceptr */
typedef CUctx_st* Context;
typedef CUmod_st* Module;
typedef CUfunc_st* Function;
typedef CUstream_st* Stream;
typedef CUevent_st* Event;

/* X(name here, symbol of libcuda, its parameters). Enumerations are int. */
#define HZ_DRIVER_FUNCTIONS(X)                                                         \
    X(init, cuInit, (unsigned int))                                                    \
    X(error_name, cuGetErrorName, (Result, const char**))                              \
    X(error_string, cuGetErrorString, (Result, const char**))                          \
    X(device_count, cuDeviceGetCount, (int*))                                          \
    X(device, cuDeviceGet, (Device*, int))                                             \
    X(device_name, cuDeviceGetName, (char*, int, Device))                              \
    X(device_attribute, cuDeviceGetAttribute, (int*, int, Device))                     \
    X(retain_context, cuDevicePrimaryCtxRetain, (Context*, Device))                    \
    X(release_context, cuDevicePrimaryCtxRelease_v2, (Device))                         \
    X(push_context, cuCtxPushCurrent_v2, (Context))                                    \
    X(pop_context, cuCtxPopCurrent_v2, (Context*))                                     \
    X(load_module, cuModuleLoadData, (Module*, const void*))                           \
    X(unload_module, cuModuleUnload, (Module))                                         \
    X(find_function, cuModuleGetFunction, (Function*, Module, const char*))            \
    X(set_function_attribute, cuFuncSetAttribute, (Function, int, int))                \
    X(launch, cuLaunchKernel,                                                          \
      (Function, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, \
       unsigned int, unsigned int, Stream, void**, void**))                            \
    X(allocate, cuMemAlloc_v2, (Address*, size_t))                                     \
    X(free, cuMemFree_v2, (Address))                                                   \
    X(allocate_pinned, cuMemHostAlloc, (void**, size_t, unsigned int))                 \
    X(free_pinned, cuMemFreeHost, (void*))                                             \
    X(upload, cuMemcpyHtoDAsync_v2, (Address, const void*, size_t, Stream))            \
    X(download, cuMemcpyDtoHAsync_v2, (void*, Address, size_t, Stream))                \
    X(fill_bytes, cuMemsetD8Async, (Address, unsigned char, size_t, Stream))           \
    X(free_memory, cuMemGetInfo_v2, (size_t*, size_t*))                                \
    X(pointer_attribute, cuPointerGetAttribute, (void*, int, Address))                 \
    X(create_stream, cuStreamCreate, (Stream*, unsigned int))                          \
    X(destroy_stream, cuStreamDestroy_v2, (Stream))                                    \
    X(wait_for_stream, cuStreamSynchronize, (Stream))                                  \
    X(capture_status, cuStreamIsCapturing, (Stream, int*))                             \
    X(create_event, cuEventCreate, (Event*, unsigned int))                             \
    X(destroy_event, cuEventDestroy_v2, (Event))                                       \
    X(record_event, cuEventRecord, (Event, Stream))                                    \
    X(wait_for_event, cuEventSynchronize, (Event))

struct Driver {
#define HZ_DECLARE(name, symbol, parameters) Result(*name) parameters;
    HZ_DRIVER_FUNCTIONS(HZ_DECLARE)
#undef HZ_DECLARE
};

/* Codes of CUresult that have a remedy of their own. */
constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100,
                 kInvalidImage = 200, kNoBinaryForGpu = 209, kUnsupportedPtx = 222;

/* The driver, opened and initialised. Throws hz_api::Unavailable; a later call tries again. */
const Driver& driver();

/* "CUDA_ERROR_X (what it means)". */
std::string describe(Result result);

/* Throw if a driver's function failed: hz_api::DeviceMemoryFull or std::runtime_error. */
void check(Result result, const char* action);

}  // namespace hz_cuda
