/* Draw pictures of any type and layout: out = M*F(I) + (1-M)*I. Lanes lie side by side; a lane
   takes pixels 32 apart, four at a time in float, one in double. */
#pragma once

#include "pixels.cuh"

namespace hz_gpu {

/* Pixels of one strip; `steps` are the drawing's in T. */
template <typename S, typename T, int N>
__device__ __forceinline__ void draw_strip(const DrawParameters& p, const hz::Step<T>* steps,
                                           const Strip& strip) {
    constexpr bool bytes = Full<S>::value == 255;
    const Drawing& drawing = p.workspace->drawing;
    const bool nothing = drawing.nothing;
    const i64 end = strip.first + strip.count;
#pragma unroll 1
    for (i64 first = strip.first + lane_index(); first < end; first += N * kLanes) {
        S stored[N][3];
        T coverage[N];
        bool drawn = false;
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const i64 column = first + k * kLanes;
            coverage[k] =
                column < end && !nothing ? coverage_of<T>(p.mask, strip.row, column) : T(0);
            drawn |= coverage[k] != T(0);
            for (int c = 0; c < 3; ++c) stored[k][c] = 0;
            if (column >= end || (p.in_place && coverage[k] == T(0))) continue;
            const u8* pixel = pixel_of(p.image, strip.row, column);
            for (int c = 0; c < 3; ++c) stored[k][c] = at<S>(pixel + c * p.image.channel_stride);
        }
        Pixels<T, N> pixels;
        if (drawn) {
#pragma unroll
            for (int k = 0; k < N; ++k) {
                T* const values[3] = {&pixels.r[k], &pixels.g[k], &pixels.b[k]};
                for (int c = 0; c < 3; ++c) {
                    if constexpr (bytes && sizeof(T) == sizeof(float))
                        *values[c] = drawing.prefix[c][stored[k][c]];
                    else if constexpr (bytes)
                        *values[c] = drawing.exact_prefix[c][stored[k][c]];
                    else
                        *values[c] = unit_value(stored[k][c], T());
                }
            }
            run_steps<true>(steps, bytes ? drawing.middle : 0, drawing.count, pixels);
        }
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const i64 column = first + k * kLanes;
            if (column >= end || (p.in_place && coverage[k] == T(0))) continue;
            u8* pixel = pixel_of(p.out, strip.row, column);
            const T m = coverage[k], rest = T(1) - m;
            const T values[3] = {pixels.r[k], pixels.g[k], pixels.b[k]};
            for (int c = 0; c < 3; ++c) {
                S result = stored[k][c];
                if (m == T(1)) /* no 0 times a NaN of the picture */
                    result = stored_value<S>(values[c]);
                else if (m != T(0))
                    result = stored_value<S>(m * values[c] + rest * unit_value(result, T()));
                if constexpr (bytes)
                    if (m == T(1) && drawing.middle == drawing.count)
                        result = drawing.levels[c][stored[k][c]];
                at<S>(pixel + c * p.out.channel_stride) = result;
            }
        }
    }
}

template <typename S>
__device__ __forceinline__ void draw_any(const DrawParameters& p, hz::Step<float>* steps,
                                         hz::Step<double>* exact_steps) {
    const Drawing& drawing = p.workspace->drawing;
    if (drawing.nothing && p.in_place) return;
    if (threadIdx.x < HZ_MAX_STEPS) {
        steps[threadIdx.x] = drawing.steps[threadIdx.x];
        exact_steps[threadIdx.x] = drawing.exact_steps[threadIdx.x];
    }
    __syncthreads();
    for (u32 index = warp_of_grid(); index < p.strips.count; index += warps_of_grid()) {
        const Strip strip = strip_at(p.strips, index);
        if (drawing.in_float)
            draw_strip<S, float, 4>(p, steps, strip);
        else
            draw_strip<S, double, 1>(p, exact_steps, strip);
    }
}

}  // namespace hz_gpu
