/* A frame of harmonizer_cuda.h: its rules, and what its operations need. */
#pragma once

#include "harmonizer_cuda.h"

namespace hz_cuda {

/* Throws hz_api::Invalid unless the frame keeps every rule for these phases. */
void check_frame(const hz_frame* frame, int32_t phase);

/* Whether an operation reads statistics of the picture. */
bool measures(int operation);

/* Statistics read the picture as the steps before leave it: those up to the first operation that
   mixes the channels (and its own) come from the histogram of an 8-bit picture. */
bool is_in_histogram(const hz_frame& frame, int step);
bool reads_histogram(const hz_frame& frame);

/* Before a step that mixes the channels, curves are part of a table; after one, only the general
   kernels know them. */
bool bends_pixels(const hz_frame& frame);

}  // namespace hz_cuda
