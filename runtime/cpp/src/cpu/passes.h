/* Measuring and drawing on the CPU; all arguments are checked. */
#pragma once

#include "harmonizer.h"

namespace hz_cpu {

/* As hz_measure. */
void measure(const hz_image& image, hz_program& program, int threads);

/* As hz_render; a null mask stands for the whole image. */
void draw(const hz_image& image, const hz_mask* mask, const hz_program& program,
          const hz_image& out, int threads);

}  // namespace hz_cpu
