/* One frame on a GPU as plain data: which kernels run, with which grids and parameters.

   `hz_cuda_schedule` is a pure function of the host: it needs no driver and touches no device
   memory. Whoever owns a stream launches what it returns, in order, on that stream:

       cuLaunchKernel(function of launch.kernel in hz_kernels.fatbin, launch.grid..., launch.block...,
                      launch.shared, stream, NULL, extra)
       extra = {CU_LAUNCH_PARAM_BUFFER_POINTER, launch.parameters,
                CU_LAUNCH_PARAM_BUFFER_SIZE, &launch.size, CU_LAUNCH_PARAM_END}

   (or kernelParams = {launch.parameters}: every kernel takes one struct by value). A frame is

       MEASURE launches -> the predictor writes `arguments` on the same stream -> DRAW launches

   without a round trip to the host, and can be captured as one graph. With arguments given there
   is no predictor, and both phases go in one call. The results are deterministic: they do not
   depend on the GPU, on its occupancy, or on the order in which blocks run. */
#ifndef HARMONIZER_CUDA_H
#define HARMONIZER_CUDA_H

#include "harmonizer.h"
#include "harmonizer_surface.h"

#ifdef __cplusplus
#define HZ_ALIGN_16 alignas(16)
extern "C" {
#else
#define HZ_ALIGN_16 _Alignas(16)
#endif

#define HZ_PARAMETER_BYTES 384
#define HZ_MOST_LAUNCHES 16 /* of one call of hz_cuda_schedule */
#define HZ_WORKSPACE_ALIGNMENT 256

typedef struct hz_launch {
    const char* kernel; /* name of the extern "C" __global__ function, static storage */
    uint32_t grid[3], block[3];
    uint32_t shared; /* dynamic shared memory, bytes */
    uint32_t size;   /* of the parameters */
    HZ_ALIGN_16 unsigned char parameters[HZ_PARAMETER_BYTES];
} hz_launch;

/* All pointers are addresses in device memory, and are not followed by the host. Float images and
   masks hold values in [0,1]: a device cannot be asked, so nothing refuses others (NaN draws 0).

   Of 8-bit pixels of 4 bytes (pixel_stride 4, channel_stride 1 or -1), the bytes between one
   pixel's channels and the next one's in a row are read, and written back to `out` with the value
   that they had; the mask may be among them. Nobody else may write them while the frame is drawn.
   Before a row's first channel and after its last, no byte is touched; rows without a gap between
   their pixels count as one row. */
typedef struct hz_frame {
    hz_image image;
    hz_mask mask;    /* data NULL: the whole image; then its other fields do not matter */
    hz_image out;    /* same data and strides as `image`: in place; else as in hz_render */
    void* workspace; /* hz_workspace_size() bytes, aligned to HZ_WORKSPACE_ALIGNMENT. Fill it with
                        zeros once after allocation and after a frame that failed on the device;
                        every other frame leaves it ready for the next, of whatever size. One frame
                        at a time. It begins with an hz_report. */
    void* composite; /* the predictor's inputs, planar, aligned to 4 bytes; both NULL: no */
    void* coverage;  /* thumbnail wanted */
    int32_t thumbnail_type; /* HZ_F32 or HZ_F16 */
    const float* arguments; /* predicted, in the order of `operations`; NULL: the arguments of the
                               workspace's program, which the host has put there */
    double strength; /* argument = identity + strength * (predicted - identity), 0 to 1.5; must be
                        1 where `arguments` is NULL */
    int32_t statistics_given; /* 1: the statistics of the workspace's program are used, and
                                 nothing is measured */
    int32_t count;
    int32_t operations[HZ_MAX_STEPS];
    int32_t stages;     /* of HZ_OP_PIECEWISE_CURVE, which is among the operations at most once and
                           takes that many times 192 of the arguments; else 0 */
    int32_t processors; /* multiprocessors of the device, for the number of blocks; 0: unknown. Has
                           no influence on results. */
    void* foreground;   /* the two of hz_region_thumbnails, 1x3x256x256 each, of thumbnail_type; */
    void* background;   /* both NULL: not wanted. They need a mask. */
    const hz_surface *surface, *surface_out; /* not NULL: read in place of `image` and `out` */
} hz_frame;

/* What is seen of a mask; bits. */
enum {
    HZ_SEEN_FOREGROUND = 1, /* some mask value is not 0 (or there is no mask) */
    HZ_SEEN_THUMBNAIL = 2,  /* likewise in the thumbnail (or none was wanted); with region
                                thumbnails also that the foreground's bounding box, that of mask
                                values above 0, is 2x2 pixels or more. If it is not, `foreground`
                                is filled with 0; `background` is made as ever. */
    HZ_SEEN_BACKGROUND = 4, /* some mask value is below full */
    HZ_SEEN_NOT_FINITE = 8  /* a predicted argument is NaN or infinite: the model is broken, and
                                identity arguments are drawn instead */
};

/* The beginning of the workspace. `program` is what the host uploads for given arguments (and
   given statistics); after a frame it holds operations, arguments as drawn (clamped) and
   statistics. `seen` is written by MEASURE where it looks at the mask - for thumbnails and for
   predicted arguments - and gets HZ_SEEN_NOT_FINITE from DRAW. Without foreground, or without any
   in the thumbnail, predicted arguments are replaced by the identities. */
typedef struct hz_report {
    hz_program program;
    uint32_t seen;
    uint32_t in_double; /* 1 if the pixels were drawn in double: steep arguments, slower */
} hz_report;

enum {
    HZ_PHASE_MEASURE = 1, /* thumbnails, histogram, mask: before the predictor. Repeatable. */
    HZ_PHASE_DRAW = 2,    /* PREPARE, remaining statistics, drawing: after MEASURE of this frame;
                             repeatable with other arguments */
    HZ_PHASE_PREPARE = 4  /* DRAW without drawing: leaves arguments and statistics in the program.
                             `out` is not looked at unless there is DRAW as well. */
};

HZ_API size_t hz_workspace_size(void);

/* The launches of the named phases (bits), in order.

   launches  room for `capacity`; HZ_MOST_LAUNCHES always suffice.
   count     out: how many there are; none at all is possible.
   HZ_INVALID if the frame breaks a rule above or of hz_render. */
HZ_API int32_t hz_cuda_schedule(const hz_frame* frame, int32_t phase, hz_launch* launches,
                                int32_t capacity, int32_t* count);

#ifdef __cplusplus
}
#endif

#endif
