/* The view of a predictor that looks at foreground and background apart. */
#pragma once

#include <string>

#include "harmonizer.h"

namespace hz_cpu {

/* As hz_region_thumbnails; the pointers and the picture are checked. Throws Invalid for a mask
   without a foreground of 2x2 pixels or more. */
void make_region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                            float* background, int threads);

/* Throw Invalid for a mask without foreground, and for one whose bounding box is one pixel high or
   wide; `found` says what came. */
[[noreturn]] void refuse_empty_region();
[[noreturn]] void refuse_thin_region(const std::string& found);

}  // namespace hz_cpu
