/* hz_emulate: run one launch of hz_cuda_schedule on host memory, with the kernels of
   runtime/kernels/hz_kernels.cu compiled by g++. */
#include <cstring>

#include "cuda_shim.h"
#include "fibers.h"
#include "harmonizer_cuda.h"
#include "hz_kernels.cu"

namespace {

struct Kernel {
    const char* name;
    void (*body)(const void*);
    size_t size;
    unsigned int threads;
};

template <typename Parameters, void (*kernel)(Parameters)>
void call(const void* parameters) {
    Parameters copy;
    memcpy(&copy, parameters, sizeof copy);
    kernel(copy);
}

#define HZ_KERNEL(kernel, Parameters, threads) \
    {#kernel, call<Parameters, kernel>, sizeof(Parameters), threads}

constexpr Kernel kKernels[] = {
    HZ_KERNEL(hz_measure_u8, MeasureParameters, kMeasureThreads),
    HZ_KERNEL(hz_measure_u16, MeasureParameters, kMeasureThreads),
    HZ_KERNEL(hz_measure_f32, MeasureParameters, kMeasureThreads),
    HZ_KERNEL(hz_region_box, RegionParameters, kBoxThreads),
    HZ_KERNEL(hz_regions_u8, RegionParameters, kRegionThreads),
    HZ_KERNEL(hz_regions_u16, RegionParameters, kRegionThreads),
    HZ_KERNEL(hz_regions_f32, RegionParameters, kRegionThreads),
    HZ_KERNEL(hz_prepare, PrepareParameters, kPrepareThreads),
    HZ_KERNEL(hz_reduce_u8, ReduceParameters, kReduceThreads),
    HZ_KERNEL(hz_reduce_u16, ReduceParameters, kReduceThreads),
    HZ_KERNEL(hz_reduce_f32, ReduceParameters, kReduceThreads),
    HZ_KERNEL(hz_draw_rgb8, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_bgr8, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_rgba8, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_bgra8, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_u8, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_u16, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_f32, DrawParameters, kDrawThreads),
    HZ_KERNEL(hz_measure_nv12, SurfaceMeasureParameters, kMeasureThreads),
    HZ_KERNEL(hz_measure_p010, SurfaceMeasureParameters, kMeasureThreads),
    HZ_KERNEL(hz_reduce_nv12, SurfaceReduceParameters, kReduceThreads),
    HZ_KERNEL(hz_reduce_p010, SurfaceReduceParameters, kReduceThreads),
    HZ_KERNEL(hz_draw_nv12, SurfaceDrawParameters, kDrawThreads),
    HZ_KERNEL(hz_draw_p010, SurfaceDrawParameters, kDrawThreads),
};

thread_local bool backwards = false;

}  // namespace

extern "C" {

/* Blocks and threads from the last to the first from now on, on this thread. */
HZ_API void hz_emulate_backwards(int32_t yes) { backwards = yes != 0; }

/* 0; 1 for an unknown kernel; 2 for a grid, block or parameters that it does not take; 3 if its
   threads wait for each other for ever. */
HZ_API int32_t hz_emulate(const hz_launch* launch) {
    for (const Kernel& kernel : kKernels) {
        if (std::strcmp(kernel.name, launch->kernel) != 0) continue;
        const bool flat = launch->grid[1] == 1 && launch->grid[2] == 1 && launch->block[1] == 1 &&
                          launch->block[2] == 1;
        if (!flat || launch->grid[0] == 0 || launch->block[0] != kernel.threads ||
            launch->size != kernel.size || launch->shared != 0)
            return 2;
        const unsigned int blocks = launch->grid[0];
        for (unsigned int i = 0; i < blocks; ++i)
            if (!hz_emulation::run_block({backwards ? blocks - 1 - i : i, 0, 0}, {blocks, 1, 1},
                                         kernel.threads, backwards, kernel.body,
                                         launch->parameters))
                return 3;
        return 0;
    }
    return 1;
}

}  // extern "C"
