/* Pictures as video decoders give them, in device memory: NV12 and its deeper likes.

   Drawn as R'G'B' with the matrix and range that are said, without a copy in between: a decoder's
   surface in, an encoder's surface out. Chroma is shared by 2x2 pixels:

       luma   = M*Y(F(I)) + (1-M)*Y                 of each pixel
       chroma = mean of M*C(F(I)) + (1-M)*C         of the two or four pixels that share it

   in codes, rounded half up. So luma stays bit for bit where the mask is 0, chroma where it is 0
   in the whole block; a background pixel beside the foreground may share a block's new chroma.
   Every pixel of a block is converted with the chroma that it has (none is interpolated), and
   codes that mean colours outside of [0, 1] are clipped where they are drawn. */
#ifndef HARMONIZER_SURFACE_H
#define HARMONIZER_SURFACE_H

#include "harmonizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Codes of ITU-T H.273, table 4. */
enum {
    HZ_BT709 = 1,
    HZ_BT601 = 6,
    HZ_BT2020 = 9 /* non-constant luminance */
};

/* Sample of pixel (x, y): luma at luma + y*luma_stride + x*size, Cb and Cr side by side at
   chroma + (y/2)*chroma_stride + (x/2)*2*size. Odd widths and heights have a last chroma column
   and row of their own. Both planes begin at multiples of 2*size bytes, and so do their rows. */
typedef struct hz_surface {
    void *luma, *chroma;
    int64_t width, height; /* in pixels */
    int64_t luma_stride, chroma_stride;
    int32_t bits;       /* 8: size is 1 (NV12). 10, 12 or 16: size is 2, codes in the high bits
                           (P010, P012, P016) */
    int32_t matrix;     /* HZ_BT709, HZ_BT601 or HZ_BT2020 */
    int32_t full_range; /* 0: 16..235 of 8 bits for luma, 16..240 for chroma; 1: all codes */
} hz_surface;

/* hz_renderer_enqueue for such pictures. `out` has the size, bits, matrix and range of `image`; it
   is the same planes (in place), or planes of its own, with rows that do not overlap. */
HZ_API int32_t hz_renderer_enqueue_surface(hz_renderer* renderer, hz_predictor* predictor,
                                           const hz_surface* image, const hz_mask* mask,
                                           double strength, const hz_surface* out,
                                           const hz_program* program);

#ifdef __cplusplus
}
#endif

#endif
