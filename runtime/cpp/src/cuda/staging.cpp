#include "cuda/staging.h"

#include <cstdlib>
#include <cstring>

#include "api/checks.h"

namespace hz_cuda {
namespace {

int64_t aligned(int64_t bytes) {
    return (bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

struct Row {
    const char* from;
    char* to;
};

/* One channel of a row, element by element. */
template <typename T>
void copy_elements(Row row, int64_t width, int64_t from_stride, int64_t to_stride) {
    for (int64_t x = 0; x < width; ++x)
        std::memcpy(row.to + x * to_stride, row.from + x * from_stride, sizeof(T));
}

void copy_channel(Row row, int64_t width, int64_t element, int64_t from_stride, int64_t to_stride) {
    if (from_stride == element && to_stride == element)
        std::memcpy(row.to, row.from, static_cast<size_t>(width * element));
    else if (element == 1)
        copy_elements<uint8_t>(row, width, from_stride, to_stride);
    else if (element == 2)
        copy_elements<uint16_t>(row, width, from_stride, to_stride);
    else
        copy_elements<uint32_t>(row, width, from_stride, to_stride);
}

/* Three channels of a row of interleaved pixels in one sweep: their cache lines are shared. */
template <typename T>
void copy_pixels(Row row, int64_t width, const hz_image& from, const hz_image& to) {
    for (int64_t x = 0; x < width; ++x)
        for (int64_t c = 0; c < 3; ++c)
            std::memcpy(row.to + x * to.pixel_stride + c * to.channel_stride,
                        row.from + x * from.pixel_stride + c * from.channel_stride, sizeof(T));
}

bool is_dense(const hz_image& image, int64_t element) {
    return image.pixel_stride == 3 * element && std::llabs(image.channel_stride) == element;
}

}  // namespace

hz_image Layout::image_at(void* base) const {
    return {static_cast<char*>(base) + first,
            width,
            height,
            row_stride,
            pixel_stride,
            channel_stride,
            type};
}

hz_mask Layout::mask_at(void* base) const {
    return {base, width, height, row_stride, pixel_stride, type};
}

Layout layout_of(const hz_image& image) {
    const int64_t element = hz_api::element_size(image.type);
    Layout layout = {};
    layout.width = image.width;
    layout.height = image.height;
    layout.type = image.type;
    const bool planar =
        std::llabs(image.pixel_stride) == element && std::llabs(image.channel_stride) > 3 * element;
    layout.planes = planar ? 3 : 1;
    layout.pixel_stride = planar ? element : 3 * element;
    layout.row_stride = aligned(image.width * layout.pixel_stride);
    layout.plane_bytes = layout.row_stride * image.height;
    layout.channel_stride = planar ? layout.plane_bytes : element;
    if (is_dense(image, element) && image.channel_stride < 0) {
        layout.channel_stride = -element;
        layout.first = 2 * element;
    }
    return layout;
}

Layout layout_of(const hz_mask& mask) {
    const int64_t element = hz_api::element_size(mask.type);
    Layout layout = {};
    layout.width = mask.width;
    layout.height = mask.height;
    layout.type = mask.type;
    layout.planes = 1;
    layout.pixel_stride = element;
    layout.row_stride = aligned(mask.width * element);
    layout.plane_bytes = layout.row_stride * mask.height;
    return layout;
}

void copy_rows(const hz_image& from, const hz_image& to, int64_t first, int64_t end) {
    const int64_t element = hz_api::element_size(from.type);
    const bool same = is_dense(from, element) && is_dense(to, element) &&
                      from.channel_stride == to.channel_stride;
    const int64_t back = same && from.channel_stride < 0 ? 2 * element : 0;
    const bool planar =
        std::llabs(from.pixel_stride) == element || std::llabs(to.pixel_stride) == element;
    for (int64_t y = first; y < end; ++y) {
        const Row row = {static_cast<const char*>(from.data) + y * from.row_stride,
                         static_cast<char*>(to.data) + y * to.row_stride};
        if (same) {
            std::memcpy(row.to - back, row.from - back,
                        static_cast<size_t>(3 * element * from.width));
        } else if (planar) {
            for (int64_t c = 0; c < 3; ++c)
                copy_channel({row.from + c * from.channel_stride, row.to + c * to.channel_stride},
                             from.width, element, from.pixel_stride, to.pixel_stride);
        } else if (element == 1) {
            copy_pixels<uint8_t>(row, from.width, from, to);
        } else if (element == 2) {
            copy_pixels<uint16_t>(row, from.width, from, to);
        } else {
            copy_pixels<uint32_t>(row, from.width, from, to);
        }
    }
}

void copy_rows(const hz_mask& from, const hz_mask& to, int64_t first, int64_t end) {
    for (int64_t y = first; y < end; ++y)
        copy_channel({static_cast<const char*>(from.data) + y * from.row_stride,
                      static_cast<char*>(const_cast<void*>(to.data)) + y * to.row_stride},
                     from.width, hz_api::element_size(from.type), from.pixel_stride,
                     to.pixel_stride);
}

}  // namespace hz_cuda
