/* Pixels of any layout to planes: what measuring and drawing begin with. See blocks.h. */
#pragma once

#include "cpu/blocks.h"
#if defined(__AVX512BW__)
#include "cpu/packed_avx512.h"
#endif

namespace HZ_NAMESPACE {

/* `n` pixels of one row of a picture. */
template <typename T, typename S>
HZ_FN void load_block(const char* pixels, const hz_image& image, int n, Planes<T>& planes) {
#if defined(__AVX512BW__)
    if (load_packed_pixels<T, S>(pixels, image.pixel_stride, image.channel_stride, n, planes))
        return;
#endif
    load_pixels<T, S>(pixels, image.pixel_stride, image.channel_stride, n, planes);
}

}  // namespace HZ_NAMESPACE
