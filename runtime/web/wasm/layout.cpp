/* Where the fields of the C interface lie, so that JavaScript writes down none of it. */
#include <cstddef>

#include "harmonizer.h"

extern "C" const int32_t* hz_web_layout(void);

/* In the order of FIELDS in runtime/web/src/wasm.ts. */
const int32_t* hz_web_layout(void) {
    static const int32_t places[] = {
        sizeof(hz_image),
        offsetof(hz_image, data),
        offsetof(hz_image, width),
        offsetof(hz_image, height),
        offsetof(hz_image, row_stride),
        offsetof(hz_image, pixel_stride),
        offsetof(hz_image, channel_stride),
        offsetof(hz_image, type),
        sizeof(hz_mask),
        offsetof(hz_mask, data),
        offsetof(hz_mask, width),
        offsetof(hz_mask, height),
        offsetof(hz_mask, row_stride),
        offsetof(hz_mask, pixel_stride),
        offsetof(hz_mask, type),
        sizeof(hz_program),
        offsetof(hz_program, count),
        offsetof(hz_program, steps),
        sizeof(hz_step),
        offsetof(hz_step, operation),
        offsetof(hz_step, argument),
        offsetof(hz_step, statistics),
        offsetof(hz_program, curves) + offsetof(hz_curves, stages),
        offsetof(hz_program, curves) + offsetof(hz_curves, slopes),
        HZ_U8,
        HZ_U16,
        HZ_F32,
        HZ_OUT_OF_MEMORY,
    };
    return places;
}
