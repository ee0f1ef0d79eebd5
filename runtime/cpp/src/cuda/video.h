/* Video pictures on the host: checks, and what the kernels are told of them. */
#pragma once

#include "harmonizer_video.h"
#include "hz_surface.h"

namespace hz_cuda {

using namespace hz_gpu; /* what the host and the kernels share */

/* Both throw Invalid. */
void check_video(const hz_video* video, const char* name);
void check_video_out(const hz_video& video, const hz_mask* mask, const hz_video& out);

/* What a schedule needs to know of the picture: its size, and that no histogram holds it. */
hz_image picture_of(const hz_video& video);

bool is_same(const hz_video& a, const hz_video& b);

inline bool is_deep(const hz_video& video) { return video.bits > 8; }
inline int shift_of(const hz_video& video) { return is_deep(video) ? 16 - video.bits : 0; }
inline Planes planes_of(const hz_video& video) {
    return {static_cast<u8*>(video.luma), static_cast<u8*>(video.chroma), video.luma_stride,
            video.chroma_stride};
}

template <typename T>
Coding<T> coding_of(const hz_video& video) {
    const bool full = video.full_range != 0;
    const double scale = 1 << (video.bits - 8), highest = (1 << video.bits) - 1;
    const double luma_range = full ? highest : 219 * scale;
    const double chroma_range = full ? highest : 224 * scale;
    /* H.273, table 4 */
    const double kr = video.matrix == HZ_BT709 ? 0.2126 : video.matrix == HZ_BT601 ? 0.299 : 0.2627;
    const double kb = video.matrix == HZ_BT709 ? 0.0722 : video.matrix == HZ_BT601 ? 0.114 : 0.0593;
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
