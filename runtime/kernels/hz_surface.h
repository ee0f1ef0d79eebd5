/* What the host's schedule and the kernels share about pictures as video decoders give them. */
#ifndef HZ_SURFACE_H
#define HZ_SURFACE_H

#include "hz_workspace.h"

namespace hz_gpu {

/* Luma of every pixel; Cb and Cr side by side, shared by 2x2 pixels. */
struct Planes {
    u8 *luma, *chroma;
    i64 luma_stride, chroma_stride;
};

/* Y'CbCr codes to R'G'B' in [0, 1] and back (ITU-T H.273, 8.3), all constants ready. */
template <typename T>
struct Coding {
    T luma_zero, chroma_zero, highest;            /* codes */
    T gain, red_cr, green_cb, green_cr, blue_cb;  /* from codes */
    T kr, kg, kb, luma_range, cb_range, cr_range; /* to codes */
};

/* Blocks of 2x2 pixels that a warp takes at a time. */
constexpr int kBlocksOfStrip = 128;

struct SurfaceMeasureParameters {
    MeasureParameters measure; /* its image is not looked at */
    Planes image;
    Coding<float> coding;
    int shift; /* of 16-bit samples: codes are in the high bits */
};

struct SurfaceReduceParameters {
    ReduceParameters reduce; /* its image is not looked at */
    Planes image;
    Coding<float> coding;
    Coding<double> exact_coding;
    int shift, padding;
};

struct SurfaceDrawParameters {
    Planes image, out;
    Mask mask;
    Workspace* workspace;
    i64 width, height;
    u32 strips_of_row, strips;
    Coding<float> coding;
    Coding<double> exact_coding;
    int shift, in_place;
};

}  // namespace hz_gpu

#endif
