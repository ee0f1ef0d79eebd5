/* The predictor's view of the picture. */
#pragma once

#include "harmonizer.h"

namespace hz_cpu {

/* As hz_thumbnail; the arguments are checked. */
void make_thumbnail(const hz_image& image, const hz_mask* mask, int size, float* composite,
                    float* coverage);

}  // namespace hz_cpu
