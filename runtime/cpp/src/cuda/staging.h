/* Pictures on their way between the caller's memory and pinned memory. */
#pragma once

#include "harmonizer.h"

namespace hz_cuda {

/* How a picture lies in pinned and in device memory: rows from top to bottom, pixels dense, rows
   padded to kRowAlignment. Planar pictures stay planar, BGR stays BGR; of pixels with more than
   three channels only the three are taken. */
struct Layout {
    int64_t width, height;
    int64_t row_stride, pixel_stride, channel_stride;
    int64_t first; /* offset of red of the first pixel */
    int64_t planes, plane_bytes;
    int32_t type;

    int64_t bytes() const { return planes * plane_bytes; }
    hz_image image_at(void* base) const;
    hz_mask mask_at(void* base) const;
};

constexpr int64_t kRowAlignment = 16;

Layout layout_of(const hz_image& image);
Layout layout_of(const hz_mask& mask);

/* Copy rows [first, end) bit for bit; both are of one size and type. */
void copy_rows(const hz_image& from, const hz_image& to, int64_t first, int64_t end);
void copy_rows(const hz_mask& from, const hz_mask& to, int64_t first, int64_t end);

}  // namespace hz_cuda
