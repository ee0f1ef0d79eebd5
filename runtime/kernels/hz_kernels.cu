/* Every kernel, in one translation unit; harmonizer_cuda.h says how a frame is made of them.

   Each takes one struct of hz_workspace.h by value, has blocks of as many threads as that says,
   and uses no dynamic shared memory. */
#include "draw_any.cuh"
#include "draw_bytes.cuh"
#include "drawing.cuh"
#include "measure.cuh"
#include "reduce.cuh"
#include "region_thumbnail.cuh"
#include "surface.cuh"

using namespace hz_gpu;

extern "C" __global__ void __launch_bounds__(kMeasureThreads, 2)
    hz_measure_u8(const MeasureParameters parameters) {
    __shared__ u32 counters[kCounters];
    measure(parameters, Stored<u8>{parameters.image}, counters);
}

extern "C" __global__ void __launch_bounds__(kMeasureThreads, 2)
    hz_measure_u16(const MeasureParameters parameters) {
    measure(parameters, Stored<u16>{parameters.image}, nullptr);
}

extern "C" __global__ void __launch_bounds__(kMeasureThreads, 2)
    hz_measure_f32(const MeasureParameters parameters) {
    measure(parameters, Stored<float>{parameters.image}, nullptr);
}

extern "C" __global__ void __launch_bounds__(kBoxThreads)
    hz_region_box(const RegionParameters parameters) {
    __shared__ Extent shared;
    find_box(parameters, shared);
}

#define HZ_REGION_KERNEL(name, type)                             \
    extern "C" __global__ void __launch_bounds__(kRegionThreads) \
        name(const RegionParameters parameters) {                \
        __shared__ RegionSums shared;                            \
        draw_regions<type>(parameters, shared);                  \
    }
HZ_REGION_KERNEL(hz_regions_u8, u8)
HZ_REGION_KERNEL(hz_regions_u16, u16)
HZ_REGION_KERNEL(hz_regions_f32, float)

extern "C" __global__ void __launch_bounds__(kPrepareThreads)
    hz_prepare(const PrepareParameters parameters) {
    __shared__ Preparing shared;
    prepare_drawing(parameters, shared);
}

#define HZ_REDUCE_KERNEL(name, type)                                      \
    extern "C" __global__ void __launch_bounds__(kReduceThreads)          \
        name(const ReduceParameters parameters) {                         \
        __shared__ Reducing shared;                                       \
        reduce(parameters, StoredPixels<type>{parameters.image}, shared); \
    }
HZ_REDUCE_KERNEL(hz_reduce_u8, u8)
HZ_REDUCE_KERNEL(hz_reduce_u16, u16)
HZ_REDUCE_KERNEL(hz_reduce_f32, float)

/* Packed pixels of 3 or 4 bytes: 64 registers, so that 32 warps keep loads in flight. */
#define HZ_BYTES_KERNEL(name, reversed, size)                     \
    extern "C" __global__ void __launch_bounds__(kDrawThreads, 4) \
        name(const DrawParameters parameters) {                   \
        __shared__ SharedDrawing shared;                          \
        __shared__ Staged<size> staged;                           \
        draw_bytes<reversed, size>(parameters, shared, staged);   \
    }
HZ_BYTES_KERNEL(hz_draw_rgb8, false, 3)
HZ_BYTES_KERNEL(hz_draw_bgr8, true, 3)
HZ_BYTES_KERNEL(hz_draw_rgba8, false, 4)
HZ_BYTES_KERNEL(hz_draw_bgra8, true, 4)

#define HZ_ANY_KERNEL(name, type)                                 \
    extern "C" __global__ void __launch_bounds__(kDrawThreads, 4) \
        name(const DrawParameters parameters) {                   \
        __shared__ hz::Step<float> steps[HZ_MAX_STEPS];           \
        __shared__ hz::Step<double> exact_steps[HZ_MAX_STEPS];    \
        draw_any<type>(parameters, steps, exact_steps);           \
    }
HZ_ANY_KERNEL(hz_draw_u8, u8)
HZ_ANY_KERNEL(hz_draw_u16, u16)
HZ_ANY_KERNEL(hz_draw_f32, float)

#define HZ_SURFACE_KERNELS(format, type)                                                    \
    extern "C" __global__ void __launch_bounds__(kMeasureThreads, 2)                        \
        hz_measure_##format(const SurfaceMeasureParameters parameters) {                    \
        const Coding<double> none = {};                                                     \
        measure(parameters.measure,                                                         \
                Decoded<type>{parameters.image, parameters.coding, none, parameters.shift}, \
                nullptr);                                                                   \
    }                                                                                       \
    extern "C" __global__ void __launch_bounds__(kReduceThreads)                            \
        hz_reduce_##format(const SurfaceReduceParameters parameters) {                      \
        __shared__ Reducing shared;                                                         \
        reduce(parameters.reduce,                                                           \
               Decoded<type>{parameters.image, parameters.coding, parameters.exact_coding,  \
                             parameters.shift},                                             \
               shared);                                                                     \
    }                                                                                       \
    extern "C" __global__ void __launch_bounds__(kDrawThreads, 4)                           \
        hz_draw_##format(const SurfaceDrawParameters parameters) {                          \
        __shared__ hz::Step<float> steps[HZ_MAX_STEPS];                                     \
        __shared__ hz::Step<double> exact_steps[HZ_MAX_STEPS];                              \
        draw_surface<type>(parameters, steps, exact_steps);                                 \
    }
HZ_SURFACE_KERNELS(nv12, u8)
HZ_SURFACE_KERNELS(p010, u16)
