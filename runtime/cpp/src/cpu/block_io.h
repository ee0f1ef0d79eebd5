/* A block's mask, its source and where it goes: what the drawing kernels share.

   Included by files that are compiled once for each instruction set; see blocks.h. */
#pragma once

#include "cpu/loading.h"

namespace HZ_NAMESPACE {

/* What a block's mask is made of: only 0, only 1, only 0 and 1, or something between. */
enum class Cover { none, all, hard, soft };

Cover cover_of(bool some, bool all, bool hard) {
    return !some ? Cover::none : all ? Cover::all : hard ? Cover::hard : Cover::soft;
}

template <typename M, typename Stride>
HZ_FN Cover classify_integers(const char* mask, Stride stride, int n) {
    M some = 0, all = M(-1), between = 0;
    for (int i = 0; i < n; ++i) {
        const M value = load<M>(mask + i * int64_t(stride));
        some = M(some | value);
        all = M(all & value);
        between = M(between | (M(value + 1) & M(~M(1)))); /* 0 for the values 0 and -1 */
    }
    return cover_of(some != 0, all == M(-1), between == 0);
}

template <typename M>
Cover classify(const char* mask, int64_t stride, int n) {
    return stride == int64_t(sizeof(M)) ? classify_integers<M>(mask, Fixed<sizeof(M)>(), n)
                                        : classify_integers<M>(mask, stride, n);
}

template <>
Cover classify<float>(const char* mask, int64_t stride, int n) {
    int some = 0, all = 1, hard = 1;
    for (int i = 0; i < n; ++i) {
        const float value = load<float>(mask + i * stride);
        some |= value != 0;
        all &= value == 1;
        hard &= int(value == 0) | int(value == 1);
    }
    return cover_of(some, all, hard);
}

Cover classify_booleans(const char* mask, int64_t stride, int n) {
    int some = 0, all = 1;
    for (int i = 0; i < n; ++i) {
        const int value = mask[i * stride] != 0;
        some |= value;
        all &= value;
    }
    return cover_of(some, all, true);
}

/* The mask of one block of one row. */
struct MaskBlock {
    const char* data;
    int64_t stride;
    int type;

    Cover cover(int n) const {
        if (!data) return Cover::all;
        switch (type) {
            case HZ_U8:
                return classify<uint8_t>(data, stride, n);
            case HZ_U16:
                return classify<uint16_t>(data, stride, n);
            case HZ_F32:
                return classify<float>(data, stride, n);
            default:
                return classify_booleans(data, stride, n);
        }
    }

    /* The coverage of n pixels, padded. */
    template <typename T>
    void read(int n, T* values) const {
        pad(values, n);
        switch (type) {
            case HZ_U8:
                return read_as<uint8_t>(n, values);
            case HZ_U16:
                return read_as<uint16_t>(n, values);
            case HZ_F32:
                return read_as<float>(n, values);
            default:
                for (int i = 0; i < n; ++i) values[i] = T(data[i * stride] != 0);
        }
    }

    template <typename M, typename T>
    void read_as(int n, T* values) const {
        if (stride == int64_t(sizeof(M)))
            for (int i = 0; i < n; ++i)
                values[i] = unit_value<T>(load<M>(data + i * int64_t(sizeof(M))));
        else
            for (int i = 0; i < n; ++i) values[i] = unit_value<T>(load<M>(data + i * stride));
    }

    /* One pixel's, in double. */
    double coverage(int i) const {
        alignas(64) double values[kVectorBytes / sizeof(double)];
        MaskBlock{data + i * stride, stride, type}.read(1, values);
        return values[0];
    }

    bool is_zero(int i) const {
        const char* value = data + i * stride;
        switch (type) {
            case HZ_U16:
                return load<uint16_t>(value) == 0;
            case HZ_F32:
                return load<float>(value) == 0;
            default:
                return *value == 0;
        }
    }
};

struct Doubts;

/* One block of the source and where it goes. */
struct Block {
    const RenderJob& job;
    Doubts* doubts; /* null for other types than HZ_U8 */
    const char* in;
    char* out;
    MaskBlock mask;
    int n;

    /* Pixels [first, end) of this block. */
    Block part(int first, int end) const {
        const char* mask_data = mask.data ? mask.data + first * mask.stride : nullptr;
        return {job,
                doubts,
                in + first * job.image.pixel_stride,
                out + first * job.out.pixel_stride,
                {mask_data, mask.stride, mask.type},
                end - first};
    }
};

template <typename T, typename S>
void load_source(const Block& block, Planes<T>& planes) {
    load_block<T, S>(block.in, block.job.image, block.n, planes);
}

template <typename S>
HZ_FN void copy_pixel(const Block& block, int i) {
    const hz_image &image = block.job.image, &out = block.job.out;
    const char* from = block.in + i * image.pixel_stride;
    char* to = block.out + i * out.pixel_stride;
    for (int c = 0; c < 3; ++c)
        memcpy(to + c * out.channel_stride, from + c * image.channel_stride, sizeof(S));
}

template <typename S>
void copy_block(const Block& block) {
    const hz_image &image = block.job.image, &out = block.job.out;
    if (block.job.in_place) return;
    constexpr int64_t size = sizeof(S);
    const bool packed = image.pixel_stride == 3 * size &&
                        (image.channel_stride == size || image.channel_stride == -size);
    if (packed && out.pixel_stride == image.pixel_stride &&
        out.channel_stride == image.channel_stride) {
        const int64_t start = image.channel_stride < 0 ? 2 * image.channel_stride : 0;
        memcpy(block.out + start, block.in + start, size_t(block.n * 3 * size));
        return;
    }
    for (int i = 0; i < block.n; ++i) copy_pixel<S>(block, i);
}

template <typename T>
bool any_zero(const T* values, int n) {
    int zero = 0;
    for (int i = 0; i < n; ++i) zero |= values[i] == 0;
    return zero;
}

/* Store planes of finished values; where the mask is 0, the source. */
template <typename S, typename V, typename M, typename Convert>
HZ_FN void store_block(const Block& block, Cover cover, const V* const (&planes)[3],
                       const M* coverage, const Convert& convert) {
    const hz_image& out = block.job.out;
#if defined(__AVX512BW__)
    /* Blending gives back 16 bits exactly where the mask is 0; of floats not the sign of -0. */
    if ((cover == Cover::all || sizeof(S) == 2 || !any_zero(coverage, block.n)) &&
        store_packed(block.out, out, block.n, planes, convert))
        return;
#endif
    if (cover == Cover::all) {
        with_layout<S>(out.pixel_stride, out.channel_stride, [&](auto ps, auto cs) {
            for (int i = 0; i < block.n; ++i) {
                char* pixel = block.out + i * int64_t(ps);
                store<S>(pixel, convert(planes[0][i]));
                store<S>(pixel + int64_t(cs), convert(planes[1][i]));
                store<S>(pixel + 2 * int64_t(cs), convert(planes[2][i]));
            }
        });
        return;
    }
    for (int i = 0; i < block.n; ++i) {
        if (coverage[i] == 0) {
            if (!block.job.in_place) copy_pixel<S>(block, i);
            continue;
        }
        char* pixel = block.out + i * out.pixel_stride;
        for (int c = 0; c < 3; ++c) store<S>(pixel + c * out.channel_stride, convert(planes[c][i]));
    }
}

/* planes <- M*planes + (1-M)*source, all padded */
template <typename T>
void blend(const T* coverage, const Planes<T>& source, int n, Planes<T>& planes) {
    const int end = padded<T>(n);
    for (int i = 0; i < end; ++i) {
        const T m = coverage[i], rest = T(1) - m;
        planes.r[i] = m * planes.r[i] + rest * source.r[i];
        planes.g[i] = m * planes.g[i] + rest * source.g[i];
        planes.b[i] = m * planes.b[i] + rest * source.b[i];
    }
}

}  // namespace HZ_NAMESPACE
