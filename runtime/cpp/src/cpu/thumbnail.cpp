#include "cpu/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace hz_cpu {
namespace {

/* Where one output position finds its two source values (an index times the stride), and their
   weights. */
struct Tap {
    int64_t first, second;
    float first_weight, second_weight;
};

/* In float, and with the product and the difference rounded once: a wide picture's positions are
   only good to 1e-4 of a pixel in float, and the predictor is exported and verified with weights
   computed this way. */
std::vector<Tap> make_taps(int64_t source, int64_t stride, int size) {
    const float scale = static_cast<float>(source) / static_cast<float>(size);
    std::vector<Tap> taps(static_cast<size_t>(size));
    for (int i = 0; i < size; ++i) {
        const float centre = std::fma(scale, static_cast<float>(i) + 0.5f, -0.5f);
        const float position = centre > 0 ? centre : 0;
        Tap& tap = taps[static_cast<size_t>(i)];
        const int64_t first = std::min<int64_t>(static_cast<int64_t>(position), source - 1);
        tap.first = first * stride;
        tap.second = std::min(first + 1, source - 1) * stride;
        tap.second_weight = std::min(std::max(position - static_cast<float>(first), 0.0f), 1.0f);
        tap.first_weight = 1 - tap.second_weight;
    }
    return taps;
}

/* The 256 quotients: dividing anew for every tap would be half of a thumbnail's time. */
struct ByteQuotients {
    float values[256];
    ByteQuotients() {
        for (int i = 0; i < 256; ++i) values[i] = static_cast<float>(i) / 255.0f;
    }
};
const ByteQuotients byte_quotients;

template <typename S>
float value_at(const char* address) {
    S value;
    std::memcpy(&value, address, sizeof value);
    if constexpr (sizeof(S) == 1) return byte_quotients.values[value];
    if constexpr (sizeof(S) == 2) return static_cast<float>(value) / 65535.0f;
    return static_cast<float>(value);
}

template <>
float value_at<bool>(const char* address) {
    return *address != 0;
}

template <typename S>
void resize_plane(const char* data, int64_t row_stride, const std::vector<Tap>& rows,
                  const std::vector<Tap>& columns, float* out) {
    for (const Tap& y : rows) {
        const char* upper = data + y.first * row_stride;
        const char* lower = data + y.second * row_stride;
        for (const Tap& x : columns)
            *out++ = y.first_weight * (x.first_weight * value_at<S>(upper + x.first) +
                                       x.second_weight * value_at<S>(upper + x.second)) +
                     y.second_weight * (x.first_weight * value_at<S>(lower + x.first) +
                                        x.second_weight * value_at<S>(lower + x.second));
    }
}

void resize_plane_of_type(int32_t type, const void* data, int64_t row_stride,
                          const std::vector<Tap>& rows, const std::vector<Tap>& columns,
                          float* out) {
    const char* bytes = static_cast<const char*>(data);
    switch (type) {
        case HZ_U8:
            return resize_plane<uint8_t>(bytes, row_stride, rows, columns, out);
        case HZ_U16:
            return resize_plane<uint16_t>(bytes, row_stride, rows, columns, out);
        case HZ_F32:
            return resize_plane<float>(bytes, row_stride, rows, columns, out);
        default:
            return resize_plane<bool>(bytes, row_stride, rows, columns, out);
    }
}

}  // namespace

void make_thumbnail(const hz_image& image, const hz_mask* mask, int size, float* composite,
                    float* coverage) {
    const std::vector<Tap> rows = make_taps(image.height, 1, size);
    const std::vector<Tap> columns = make_taps(image.width, image.pixel_stride, size);
    const int64_t plane = int64_t{size} * size;
    for (int c = 0; c < 3; ++c)
        resize_plane_of_type(image.type,
                             static_cast<const char*>(image.data) + c * image.channel_stride,
                             image.row_stride, rows, columns, composite + c * plane);
    if (mask)
        resize_plane_of_type(mask->type, mask->data, mask->row_stride, rows,
                             make_taps(image.width, mask->pixel_stride, size), coverage);
    else
        std::fill(coverage, coverage + plane, 1.0f);
}

}  // namespace hz_cpu
