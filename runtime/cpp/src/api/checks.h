/* Checks of what comes through the C interface. */
#pragma once

#include <string>

#include "api/errors.h"
#include "harmonizer.h"

namespace hz_api {

/* All throw Invalid. */
void check_image(const hz_image* image, const char* name);
void check_mask(const hz_mask* mask, const hz_image& image);
void check_program(const hz_program* program);
void check_out(const hz_image& image, const hz_mask* mask, const hz_image& out);
/* That `count` parts of a picture `stride` apart lie within what an address can reach. */
void check_reach(const char* name, const char* stride_name, int64_t count, int64_t stride);
/* That `count` parts of a picture that is drawn to, each of `bytes`, lie `stride` apart. */
void check_apart(const char* stride_name, int64_t count, int64_t stride, int64_t bytes);

/* What hz_region_thumbnails is given. */
void check_region_inputs(const hz_image* image, const hz_mask* mask, const float* foreground,
                         const float* background);

/* Throw Invalid for a mask without foreground, and for one whose bounding box is one pixel high or
   wide; `found` says what came. */
[[noreturn]] void refuse_empty_region();
[[noreturn]] void refuse_thin_region(const std::string& found);

/* Whether both describe the same pixels in the same places. */
bool same_memory(const hz_image& a, const hz_image& b);

int64_t element_size(int32_t type);

}  // namespace hz_api
