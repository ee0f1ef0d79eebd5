/* Surfaces on the host: checks, and what the kernels are told of them. */
#pragma once

#include "harmonizer_surface.h"
#include "hz_surface.h"

namespace hz_cuda {

using namespace hz_gpu; /* what the host and the kernels share */

/* Both throw Invalid. */
void check_surface(const hz_surface* surface, const char* name);
void check_surface_out(const hz_surface& surface, const hz_mask* mask, const hz_surface& out);

/* What a schedule needs to know of the picture: its size, and that no histogram holds it. */
hz_image picture_of(const hz_surface& surface);

bool is_same(const hz_surface& a, const hz_surface& b);

inline bool is_deep(const hz_surface& surface) { return surface.bits > 8; }
inline int shift_of(const hz_surface& surface) { return is_deep(surface) ? 16 - surface.bits : 0; }
inline Planes planes_of(const hz_surface& surface) {
    return {static_cast<u8*>(surface.luma), static_cast<u8*>(surface.chroma), surface.luma_stride,
            surface.chroma_stride};
}

template <typename T>
Coding<T> coding_of(const hz_surface& surface) {
    const bool full = surface.full_range != 0;
    const double scale = 1 << (surface.bits - 8), highest = (1 << surface.bits) - 1;
    const double luma_range = full ? highest : 219 * scale;
    const double chroma_range = full ? highest : 224 * scale;
    /* H.273, table 4 */
    const double kr = surface.matrix == HZ_BT709   ? 0.2126
                      : surface.matrix == HZ_BT601 ? 0.299
                                                   : 0.2627;
    const double kb = surface.matrix == HZ_BT709   ? 0.0722
                      : surface.matrix == HZ_BT601 ? 0.114
                                                   : 0.0593;
    const double kg = 1 - kr - kb, cr = 2 * (1 - kr), cb = 2 * (1 - kb);
    Coding<T> coding;
    coding.luma_zero = T(full ? 0 : 16 * scale);
    coding.chroma_zero = T(128 * scale);
    coding.highest = T(highest);
    coding.gain = T(1 / luma_range);
    coding.red_cr = T(cr / chroma_range);
    coding.green_cb = T(-kb * cb / kg / chroma_range);
    coding.green_cr = T(-kr * cr / kg / chroma_range);
    coding.blue_cb = T(cb / chroma_range);
    coding.kr = T(kr);
    coding.kg = T(kg);
    coding.kb = T(kb);
    coding.luma_range = T(luma_range);
    coding.cb_range = T(chroma_range / cb);
    coding.cr_range = T(chroma_range / cr);
    return coding;
}

}  // namespace hz_cuda
