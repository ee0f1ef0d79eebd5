/* Pictures as video decoders give them, NV12 and its deeper likes: read as R'G'B' for thumbnail and
   statistics, and drawn.

   Four pixels share a chroma sample: each is converted with it as it is. A lane draws such a block:
   luma = M*Y(F) + (1-M)*Y by pixel, chroma = the mean over the block's pixels of
   M*C(F) + (1-M)*C, in codes, rounded once. The matrix is linear, so this is out = M*F + (1-M)*I.
   Luma stays bit for bit where M is 0, chroma where it is 0 in the whole block. */
#pragma once

#include "hz_surface.h"
#include "pixels.cuh"

namespace hz_gpu {

/* Two samples that lie side by side: of luma, or Cb and Cr. */
template <typename S>
struct alignas(2 * sizeof(S)) Pair {
    S first, second;
};

template <typename S>
__device__ __forceinline__ Pair<S> chroma_at(const Planes& planes, i64 row, i64 column) {
    return at<Pair<S>>(planes.chroma + row * planes.chroma_stride + column * i64(sizeof(Pair<S>)));
}

template <typename S>
__device__ __forceinline__ u8* luma_at(const Planes& planes, i64 row, i64 column) {
    return planes.luma + row * planes.luma_stride + column * i64(sizeof(S));
}

/* Codes above what the matrix can mean are clipped, as every display does. */
template <typename T>
__device__ __forceinline__ void to_rgb(const Coding<T>& coding, T luma, T cb, T cr, T& r, T& g,
                                       T& b) {
    const T y = (luma - coding.luma_zero) * coding.gain;
    cb -= coding.chroma_zero;
    cr -= coding.chroma_zero;
    r = hz::clip(y + coding.red_cr * cr);
    g = hz::clip(y + coding.green_cb * cb + coding.green_cr * cr);
    b = hz::clip(y + coding.blue_cb * cb);
}

/* Rounded half up; codes are at most 16 bits. */
template <typename T>
__device__ __forceinline__ u32 code_of(const Coding<T>& coding, T value) {
    return u32(hz::smaller(hz::larger(value, T(0)), coding.highest) + T(0.5));
}

/* As `Stored` (thumbnail.cuh, pixels.cuh) is for pictures of R, G and B. */
template <typename S>
struct Decoded {
    const Planes& planes;
    const Coding<float>& coding;
    const Coding<double>& exact_coding;
    int shift;

    __device__ __forceinline__ const Coding<float>& coding_in(float) const { return coding; }
    __device__ __forceinline__ const Coding<double>& coding_in(double) const {
        return exact_coding;
    }

    template <typename T>
    __device__ __forceinline__ void read(i64 row, i64 column, T& r, T& g, T& b) const {
        const Pair<S> chroma = chroma_at<S>(planes, row / 2, column / 2);
        const S luma = at<S>(luma_at<S>(planes, row, column));
        to_rgb(coding_in(T()), T(luma >> shift), T(chroma.first >> shift),
               T(chroma.second >> shift), r, g, b);
    }

    /* For the thumbnail. */
    __device__ __forceinline__ float operator()(i64 row, i64 column, int channel) const {
        float values[3];
        read(row, column, values[0], values[1], values[2]);
        return channel == 0 ? values[0] : channel == 1 ? values[1] : values[2];
    }

    /* For reductions: N pixels of a row, 32 columns apart. */
    template <typename T, int N>
    __device__ __forceinline__ void load(i64 row, i64 first, i64 end, Pixels<T, N>& pixels) const {
#pragma unroll
        for (int k = 0; k < N; ++k) {
            pixels.r[k] = pixels.g[k] = pixels.b[k] = T(0);
            const i64 column = first + k * kLanes;
            if (column < end) read(row, column, pixels.r[k], pixels.g[k], pixels.b[k]);
        }
    }
};

/* A block of up to 2x2 pixels. Samples are numbered row by row and kept as 16 bits each of one
   word, for which a number need not be known to the compiler. */
struct SurfaceBlock {
    i64 row, column; /* of its chroma sample */
    int columns, rows;

    __device__ __forceinline__ bool has(int k) const { return k / 2 < rows && k % 2 < columns; }
    template <typename T>
    __device__ __forceinline__ T coverage(const Mask& mask, int k) const {
        return has(k) ? coverage_of<T>(mask, 2 * row + k / 2, 2 * column + k % 2) : T(0);
    }
};

template <typename S>
__device__ __forceinline__ u64 load_luma(const Planes& planes, const SurfaceBlock& block) {
    u64 samples = 0;
#pragma unroll
    for (int y = 0; y < 2; ++y) {
        if (y >= block.rows) continue;
        const u8* address = luma_at<S>(planes, 2 * block.row + y, 2 * block.column);
        Pair<S> pair = {};
        if (block.columns == 2)
            pair = at<Pair<S>>(address);
        else /* nothing needs to lie beyond an odd width */
            pair.first = at<S>(address);
        samples |= (u64(pair.first) | u64(pair.second) << 16) << (32 * y);
    }
    return samples;
}

template <typename S>
__device__ __forceinline__ void store_luma(const Planes& planes, const SurfaceBlock& block,
                                           u64 samples) {
#pragma unroll
    for (int y = 0; y < 2; ++y) {
        if (y >= block.rows) continue;
        u8* const address = luma_at<S>(planes, 2 * block.row + y, 2 * block.column);
        const u32 both = u32(samples >> (32 * y));
        if (block.columns == 2)
            at<Pair<S>>(address) = {S(both), S(both >> 16)};
        else
            at<S>(address) = S(both);
    }
}

/* Draw a block that is not left out, N of its pixels at a time. */
template <typename S, typename T, int N>
__device__ __forceinline__ void draw_block(const SurfaceDrawParameters& p, const Coding<T>& coding,
                                           const hz::Step<T>* steps, int count,
                                           const SurfaceBlock& block, u64& luma, Pair<S>& chroma) {
    const T cb = T(chroma.first >> p.shift), cr = T(chroma.second >> p.shift);
    T cb_change = 0, cr_change = 0;
#pragma unroll 1
    for (int first = 0; first < 4; first += N) {
        Pixels<T, N> pixels;
#pragma unroll
        for (int k = 0; k < N; ++k)
            to_rgb(coding, T(S(luma >> (16 * (first + k))) >> p.shift), cb, cr, pixels.r[k],
                   pixels.g[k], pixels.b[k]);
        run_steps<true>(steps, 0, count, pixels);
#pragma unroll
        for (int k = 0; k < N; ++k) {
            const int at = 16 * (first + k);
            const T m = block.coverage<T>(p.mask, first + k);
            if (m == T(0)) continue;
            const T r = hz::clip(pixels.r[k]), g = hz::clip(pixels.g[k]), b = hz::clip(pixels.b[k]);
            const T y = coding.kr * r + coding.kg * g + coding.kb * b;
            T drawn = coding.luma_zero + coding.luma_range * y;
            if (m != T(1)) drawn = m * drawn + (T(1) - m) * T(S(luma >> at) >> p.shift);
            cb_change += m * (coding.chroma_zero + coding.cb_range * (b - y) - cb);
            cr_change += m * (coding.chroma_zero + coding.cr_range * (r - y) - cr);
            luma = (luma & ~(u64(0xffff) << at)) | u64(code_of(coding, drawn) << p.shift) << at;
        }
    }
    const T share = T(1) / T(block.columns * block.rows);
    chroma.first = S(code_of(coding, cb + share * cb_change) << p.shift);
    chroma.second = S(code_of(coding, cr + share * cr_change) << p.shift);
}

template <typename S>
__device__ __forceinline__ void draw_surface(const SurfaceDrawParameters& p, hz::Step<float>* steps,
                                             hz::Step<double>* exact_steps) {
    const Drawing& drawing = p.workspace->drawing;
    const bool nothing = drawing.nothing;
    if (nothing && p.in_place) return;
    if (threadIdx.x < HZ_MAX_STEPS) {
        steps[threadIdx.x] = drawing.steps[threadIdx.x];
        exact_steps[threadIdx.x] = drawing.exact_steps[threadIdx.x];
    }
    __syncthreads();
    const i64 columns = (p.width + 1) / 2;
    for (u32 index = warp_of_grid(); index < p.strips; index += warps_of_grid()) {
        const i64 row = index / p.strips_of_row;
        const i64 first = i64(index % p.strips_of_row) * kBlocksOfStrip;
        const i64 end = first + kBlocksOfStrip < columns ? first + kBlocksOfStrip : columns;
        for (i64 column = first + lane_index(); column < end; column += kLanes) {
            const SurfaceBlock block = {row, column, 2 * column + 1 < p.width ? 2 : 1,
                                        2 * row + 1 < p.height ? 2 : 1};
            bool drawn = false;
#pragma unroll
            for (int k = 0; k < 4; ++k)
                drawn |= !nothing && block.coverage<float>(p.mask, k) != 0.0f;
            if (!drawn && p.in_place) continue;
            u64 luma = load_luma<S>(p.image, block);
            Pair<S> chroma = chroma_at<S>(p.image, row, column);
            if (drawn && drawing.in_float)
                draw_block<S, float, 4>(p, p.coding, steps, drawing.count, block, luma, chroma);
            else if (drawn)
                draw_block<S, double, 1>(p, p.exact_coding, exact_steps, drawing.count, block, luma,
                                         chroma);
            store_luma<S>(p.out, block, luma);
            at<Pair<S>>(p.out.chroma + row * p.out.chroma_stride + column * i64(sizeof(Pair<S>))) =
                chroma;
        }
    }
}

}  // namespace hz_gpu
