/* C interface of the CPU renderer.

   A program is a list of photo operations with their arguments (runtime/harmonizer/ops.py names
   them; HZ_OP_* in hz_operations.h are their codes). Typical use:

       hz_program program = {.count = 2, .steps = {{HZ_OP_TEMPERATURE, 0.1}, {HZ_OP_SHADOW, 0.2}}};
       hz_measure(&image, &program, 0);                    fills in the image statistics
       hz_render(&image, &mask, &program, &image, 0);      draws in place

   Colours are display-referred sRGB, channel order R, G, B. Every function is safe to call from
   several threads on different images; none keeps threads or memory after it returns, and none
   throws. The result does not depend on the number of threads. */
#ifndef HARMONIZER_H
#define HARMONIZER_H

#include <stddef.h>
#include <stdint.h>

#include "hz_operations.h"

#if defined(_WIN32)
#define HZ_API __declspec(dllexport)
#else
#define HZ_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hz_status {
    HZ_OK = 0,
    HZ_INVALID = 1,      /* an argument breaks a documented rule; hz_last_error says which */
    HZ_OUT_OF_MEMORY = 2,
    HZ_INTERNAL = 3
} hz_status;

typedef enum hz_type {
    HZ_U8 = 0,  /* 0..255 stands for 0..1 */
    HZ_U16 = 1, /* 0..65535 stands for 0..1, native byte order */
    HZ_F32 = 2, /* values in [0,1]; NaN counts as 0, other values are clipped by the first operation */
    HZ_BOOL = 3 /* masks only: one byte, 0 or anything else */
} hz_type;

/* Where the channels of a picture lie. Strides are in bytes and may be negative; neither the data
   nor the strides need be aligned to the type. Red of pixel (x, y) is at
   data + y*row_stride + x*pixel_stride, green and blue channel_stride and 2*channel_stride on. */
typedef struct hz_image {
    void* data;
    int64_t width, height;
    int64_t row_stride, pixel_stride, channel_stride;
    int32_t type; /* hz_type, not HZ_BOOL */
} hz_image;

/* Coverage of the foreground, of the image's width and height; soft edges are meant. */
typedef struct hz_mask {
    const void* data;
    int64_t width, height;
    int64_t row_stride, pixel_stride;
    int32_t type; /* hz_type */
} hz_mask;

typedef struct hz_step {
    int32_t operation;    /* HZ_OP_* */
    double argument;      /* clamped to the operation's range when drawn */
    double statistics[3]; /* filled in by hz_measure: what the operation reads of the image */
} hz_step;

typedef struct hz_program {
    int32_t count; /* 0..HZ_MAX_STEPS */
    hz_step steps[HZ_MAX_STEPS];
} hz_program;

/* Fill in the statistics of every step: those of the whole image (not only of the foreground) as
   the preceding steps leave it. A program of identity arguments alone draws nothing and gets zeros.
   threads <= 0 means as many as the process may run on; small images use fewer. */
HZ_API int32_t hz_measure(const hz_image* image, hz_program* program, int32_t threads);

/* Draw out = M*F(I) + (1-M)*I with the statistics as the program gives them.

   mask     NULL means the whole image.
   out      of the image's size and type. Either the same data and strides as the image (in place),
            or memory that overlaps neither the image nor the mask; interleaved in the same pixels
            (RGBA: image in RGB, mask in A) is no overlap. Other layouts are free.
   Pixels where the mask is 0 are copied bit for bit. Integers are rounded half up. */
HZ_API int32_t hz_render(const hz_image* image, const hz_mask* mask, const hz_program* program,
                         const hz_image* out, int32_t threads);

/* Resize to size x size: bilinear, half-pixel centres, no antialiasing.

   composite   out: 3*size*size floats in [0,1], planar R, G, B.
   coverage    out: size*size floats in [0,1]; all 1 if mask is NULL. */
HZ_API int32_t hz_thumbnail(const hz_image* image, const hz_mask* mask, int32_t size,
                            float* composite, float* coverage);

/* Why the last call on this thread did not return HZ_OK. */
HZ_API const char* hz_last_error(void);

HZ_API const char* hz_version(void);

/* The instruction set in use: "x86-64-v4", "x86-64-v3", "x86-64", or "generic" elsewhere. */
HZ_API const char* hz_isa(void);

/* Use a named instruction set from now on, in every thread; NULL returns to the best one.
   HZ_INVALID if this build or this processor lacks it. For tests and measurements. */
HZ_API int32_t hz_set_isa(const char* name);

#ifdef __cplusplus
}
#endif

#endif
