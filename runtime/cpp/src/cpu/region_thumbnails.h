/* The view of a predictor that looks at foreground and background apart. */
#pragma once

#include "harmonizer.h"

namespace hz_cpu {

/* As hz_region_thumbnails; the pointers and the picture are checked. Throws hz_api::Invalid for a mask
   without a foreground of 2x2 pixels or more. */
void make_region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                            float* background, int threads);

}  // namespace hz_cpu
