/* Values in memory, and pixels in registers. */
#pragma once

#include "lanes.cuh"

namespace hz_gpu {

template <typename S>
struct Full;
template <>
struct Full<u8> {
    static constexpr int value = 255;
};
template <>
struct Full<u16> {
    static constexpr int value = 65535;
};
template <>
struct Full<float> {
    static constexpr int value = 1;
};

/* Integers times a reciprocal in float, where a unit in the last place more or less is within the
   error bounds; divided in double. */
template <typename S>
__device__ __forceinline__ float unit_value(S stored, float) {
    return Full<S>::value == 1 ? float(stored) : float(stored) * (1.0f / Full<S>::value);
}
template <typename S>
__device__ __forceinline__ double unit_value(S stored, double) {
    return Full<S>::value == 1 ? double(stored)
                               : hz::divide(double(stored), double(Full<S>::value));
}

/* Rounded half up. */
template <typename S, typename T>
__device__ __forceinline__ S stored_value(T value) {
    if constexpr (Full<S>::value == 1)
        return S(value);
    else
        return S(int(hz::clip(value) * T(Full<S>::value) + T(0.5)));
}

template <typename S>
__device__ __forceinline__ S& at(u8* address) {
    return *reinterpret_cast<S*>(address);
}
template <typename S>
__device__ __forceinline__ const S& at(const u8* address) {
    return *reinterpret_cast<const S*>(address);
}

__device__ __forceinline__ u8* pixel_of(const Image& image, i64 row, i64 column) {
    return image.data + row * image.row_stride + column * image.pixel_stride;
}

/* The coverage of one pixel; exactly 0 and 1 where the mask is 0 and full. */
template <typename T>
__device__ __forceinline__ T coverage_of(const Mask& mask, i64 row, i64 column) {
    if (!mask.data) return T(1);
    const u8* address = mask.data + row * mask.row_stride + column * mask.pixel_stride;
    switch (mask.type) {
        case kU8:
            return *address == 255 ? T(1) : unit_value(*address, T());
        case kU16: {
            const u16 value = at<u16>(address);
            return value == 65535 ? T(1) : unit_value(value, T());
        }
        case kF32:
            return T(at<float>(address));
        default:
            return T(*address != 0);
    }
}

template <typename T, int N>
struct Pixels {
    T r[N], g[N], b[N];
};

template <bool bends, typename T, int N>
struct StepVisitor {
    const hz::Step<T>& step;
    Pixels<T, N>& pixels;
    template <int code>
    __device__ __forceinline__ void visit() {
        if constexpr (code != HZ_OP_PIECEWISE_CURVE)
            apply<code>();
        else if constexpr (bends)
            bend();
    }
    /* Registers are short: the table's address is not kept, and no two values wait for theirs at
       a time. */
    __device__ __forceinline__ void bend() {
#pragma unroll 1
        for (int stage = 0; stage < int(step.table[0]); ++stage) {
            const T* const curve = step.table + 1 + stage * 2 * HZ_CURVE_NUMBERS;
            bend_channel(curve, pixels.r);
            bend_channel(curve + 2 * HZ_CURVE_KNOTS, pixels.g);
            bend_channel(curve + 4 * HZ_CURVE_KNOTS, pixels.b);
        }
    }
    __device__ __forceinline__ static void bend_channel(const T* curve, T (&values)[N]) {
#pragma unroll
        for (int k = 0; k < N; ++k) {
            values[k] = hz::Operation<HZ_OP_PIECEWISE_CURVE>::value(curve, values[k]);
            asm volatile("" ::: "memory");
        }
    }
    template <int code>
    __device__ __forceinline__ void apply() {
        const T local[HZ_CONSTANTS] = {step.constants[0], step.constants[1], step.constants[2]};
        /* Saturation asks for a sign: known here, it costs no branch for each pixel. */
        if (code != HZ_OP_SATURATION)
            apply_all<code>(local);
        else if (local[0] > T(0))
            apply_all<code>({T(1), local[1], local[2]});
        else
            apply_all<code>({T(0), local[1], local[2]});
    }
    template <int code>
    __device__ __forceinline__ void apply_all(const T (&local)[HZ_CONSTANTS]) {
#pragma unroll
        for (int k = 0; k < N; ++k)
            hz::Operation<code>::apply(local, pixels.r[k], pixels.g[k], pixels.b[k]);
    }
};

/* Steps [first, end); which operation a step is, is decided once for N pixels and the whole warp.
   bends: whether curves may be among them. */
template <bool bends, typename T, int N>
__device__ __forceinline__ void run_steps(const hz::Step<T>* steps, int first, int end,
                                          Pixels<T, N>& pixels) {
#pragma unroll 1
    for (int i = first; i < end; ++i) {
        StepVisitor<bends, T, N> visitor = {steps[i], pixels};
        hz::visit_operation<0>(steps[i].operation, visitor);
    }
}

/* Load N pixels of a row, 32 columns apart. */
template <typename S, typename T, int N>
__device__ __forceinline__ void load_pixels(const Image& image, i64 row, i64 first, i64 end,
                                            Pixels<T, N>& pixels) {
#pragma unroll
    for (int k = 0; k < N; ++k) {
        const i64 column = first + k * kLanes;
        S stored[3] = {};
        if (column < end) {
            const u8* pixel = pixel_of(image, row, column);
            for (int c = 0; c < 3; ++c) stored[c] = at<S>(pixel + c * image.channel_stride);
        }
        pixels.r[k] = unit_value(stored[0], T());
        pixels.g[k] = unit_value(stored[1], T());
        pixels.b[k] = unit_value(stored[2], T());
    }
}

}  // namespace hz_gpu
