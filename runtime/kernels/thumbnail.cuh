/* The predictor's view: bilinear, half-pixel centres, no antialiasing, bit for bit what
   hz_thumbnail of the CPU gives on x86-64 (thumbnail.cpp): hence no fused multiplications but
   one. */
#pragma once

#include "pixels.cuh"

namespace hz_gpu {

#if defined(__CUDA_ARCH__)
__device__ __forceinline__ u16 half_of(float value) {
    u16 half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}
#endif

struct Tap {
    i64 first, second;
    float first_weight, second_weight;
};

__device__ __forceinline__ Tap tap_at(int index, i64 source) {
    const float scale = float(source) / float(kThumbnail);
    const float centre = fmaf(scale, float(index) + 0.5f, -0.5f);
    const float position = centre > 0.0f ? centre : 0.0f;
    Tap tap;
    tap.first = i64(position) < source - 1 ? i64(position) : source - 1;
    tap.second = tap.first + 1 < source - 1 ? tap.first + 1 : source - 1;
    tap.second_weight = fminf(fmaxf(position - float(tap.first), 0.0f), 1.0f);
    tap.first_weight = 1.0f - tap.second_weight;
    return tap;
}

__device__ __forceinline__ float weighted(float a, float first, float b, float second) {
    return __fadd_rn(__fmul_rn(a, first), __fmul_rn(b, second));
}

/* read(row, column) -> value in [0, 1] */
template <typename Read>
__device__ __forceinline__ float resampled(const Tap& y, const Tap& x, const Read& read) {
    const float upper =
        weighted(x.first_weight, read(y.first, x.first), x.second_weight, read(y.first, x.second));
    const float lower = weighted(x.first_weight, read(y.second, x.first), x.second_weight,
                                 read(y.second, x.second));
    return weighted(y.first_weight, upper, y.second_weight, lower);
}

__device__ __forceinline__ void store_thumbnail(void* plane, int type, int index, float value) {
    if (type == kF16)
        static_cast<u16*>(plane)[index] = half_of(value);
    else
        static_cast<float*>(plane)[index] = value;
}

/* Rounded as a division is, which a product with a reciprocal alone is not: for the integers of
   both types a test compares them all. */
template <typename S>
__device__ __forceinline__ float exact_unit(S stored) {
    constexpr float full = float(Full<S>::value), inverse = 1.0f / full;
    const float value = float(stored);
    if constexpr (Full<S>::value == 1) return value;
    const float quotient = __fmul_rn(value, inverse);
    return fmaf(fmaf(-full, quotient, value), inverse, quotient);
}

__device__ __forceinline__ float exact_coverage(const Mask& mask, i64 row, i64 column) {
    const u8* address = mask.data + row * mask.row_stride + column * mask.pixel_stride;
    switch (mask.type) {
        case kU8:
            return exact_unit(*address);
        case kU16:
            return exact_unit(at<u16>(address));
        case kF32:
            return at<float>(address);
        default:
            return float(*address != 0);
    }
}

/* Values of a picture of R, G and B as the thumbnail reads them. */
template <typename S>
struct Stored {
    const Image& image;

    __device__ __forceinline__ float operator()(i64 row, i64 column, int channel) const {
        return exact_unit(at<S>(pixel_of(image, row, column) + channel * image.channel_stride));
    }
};

/* The grid's share of the thumbnail; returns whether this thread met foreground in it.
   read(row, column, channel) -> value in [0, 1] */
template <typename Read>
__device__ __forceinline__ bool draw_thumbnail(const MeasureParameters& p, const Read& read) {
    constexpr int plane = kThumbnail * kThumbnail;
    const int value_size = p.thumbnail_type == kF16 ? 2 : 4;
    bool seen = false;
    for (u32 share = warp_of_grid(); share < plane / kLanes; share += warps_of_grid()) {
        const int index = int(share) * kLanes + lane_index();
        const Tap y = tap_at(index / kThumbnail, p.height), x = tap_at(index % kThumbnail, p.width);
        for (int c = 0; c < 3; ++c) {
            const float value =
                resampled(y, x, [&](i64 row, i64 column) { return read(row, column, c); });
            store_thumbnail(static_cast<u8*>(p.composite) + i64(c) * plane * value_size,
                            p.thumbnail_type, index, value);
        }
        float coverage = 1.0f;
        if (p.mask.data)
            coverage = resampled(
                y, x, [&](i64 row, i64 column) { return exact_coverage(p.mask, row, column); });
        store_thumbnail(p.coverage, p.thumbnail_type, index, coverage);
        seen |= coverage != 0.0f;
    }
    return seen;
}

}  // namespace hz_gpu
