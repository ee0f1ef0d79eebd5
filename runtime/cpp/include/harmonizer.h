/* C interface: the CPU renderer as plain functions, and the CPU and CUDA renderers as handles.

   A program is a list of photo operations with their arguments (runtime/harmonizer/ops.py names
   them; HZ_OP_* in hz_operations.h are their codes). Typical use:

       hz_program program = {.count = 2, .steps = {{HZ_OP_TEMPERATURE, 0.1}, {HZ_OP_SHADOW, 0.2}}};
       hz_measure(&image, &program, 0);                    fills in the image statistics
       hz_render(&image, &mask, &program, &image, 0);      draws in place

   Colours are display-referred sRGB, channel order R, G, B. These functions are safe to call from
   several threads on different images; none keeps threads or memory after it returns, and none
   throws. The result does not depend on the number of threads.

   The second half of this file is the same through a handle, on the CPU or on an NVIDIA GPU, and
   with a predictor. docs/cpp.md has the whole story. */
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
    HZ_INVALID = 1,       /* an argument breaks a documented rule; hz_last_error says which */
    HZ_OUT_OF_MEMORY = 2, /* of the host or of the device; the handle stays usable */
    HZ_INTERNAL = 3,
    HZ_UNAVAILABLE = 4, /* this build, machine or driver lacks what was asked for */
    HZ_MODEL = 5        /* an engine or predictor is unusable: wrong file, other contract, NaN */
} hz_status;

typedef enum hz_type {
    HZ_U8 = 0,   /* 0..255 stands for 0..1 */
    HZ_U16 = 1,  /* 0..65535 stands for 0..1, native byte order */
    HZ_F32 = 2,  /* in [0,1]; NaN counts as 0, other values are clipped by the first operation */
    HZ_BOOL = 3, /* masks only: one byte, 0 or anything else */
    HZ_F16 = 4   /* thumbnails for a predictor only */
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
    double argument;      /* clamped to the operation's range when drawn; HZ_OP_PIECEWISE_CURVE has
                             its numbers in the program's curves instead */
    double statistics[3]; /* filled in by hz_measure: what the operation reads of the image */
} hz_step;

/* The numbers of HZ_OP_PIECEWISE_CURVE: slopes of the curves that are applied in turn, of R, G and
   B. All 1 changes nothing. Only what is steep against the others counts: see ops.py. */
typedef struct hz_curves {
    int32_t stages; /* 1..HZ_CURVE_STAGES with that operation; else it is not looked at */
    float slopes[HZ_CURVE_STAGES][3][HZ_CURVE_KNOTS];
} hz_curves;

typedef struct hz_program {
    int32_t count; /* 0..HZ_MAX_STEPS; HZ_OP_PIECEWISE_CURVE at most once */
    hz_step steps[HZ_MAX_STEPS];
    hz_curves curves;
} hz_program;

/* Fill in the statistics of every step: those of the whole image (not only of the foreground) as
   the preceding steps leave it. A program of identity arguments alone draws nothing and gets zeros.
   threads <= 0 means as many as the process may run on; small images use fewer. */
HZ_API int32_t hz_measure(const hz_image* image, hz_program* program, int32_t threads);

/* Draw out = M*F(I) + (1-M)*I with the statistics as the program gives them.

   mask     NULL means the whole image.
   out      of the image's size and type. Either the same data and strides as the image (in place),
            or memory that overlaps neither the image nor the mask; interleaved in the same pixels
            (RGBA: image in RGB, mask in A) is no overlap. Its strides must set rows, pixels and
            channels apart; those of image and mask may be 0. Other layouts are free.
   Pixels where the mask is 0 are copied bit for bit. Integers are rounded half up. */
HZ_API int32_t hz_render(const hz_image* image, const hz_mask* mask, const hz_program* program,
                         const hz_image* out, int32_t threads);

/* Resize to size x size: bilinear, half-pixel centres, no antialiasing.

   composite   out: 3*size*size floats in [0,1], planar R, G, B.
   coverage    out: size*size floats in [0,1]; all 1 if mask is NULL. */
HZ_API int32_t hz_thumbnail(const hz_image* image, const hz_mask* mask, int32_t size,
                            float* composite, float* coverage);

/* For predictors that look at foreground and background apart: two thumbnails of 256x256, bilinear
   with antialiasing, the aspect not kept.

   foreground  out: 3*256*256 floats in [0,1], planar R, G, B: image and mask, both cut to the
               bounding box of the mask's values above 0 and resized, multiplied.
   background  out: likewise of the whole image, times 1 - mask.
   HZ_INVALID for a mask whose bounding box is empty, or one pixel wide or high. */
HZ_API int32_t hz_region_thumbnails(const hz_image* image, const hz_mask* mask, float* foreground,
                                    float* background, int32_t threads);

/* Why the last call on this thread did not return HZ_OK; one sentence or two, in static storage
   of the thread until its next failure. */
HZ_API const char* hz_last_error(void);

HZ_API const char* hz_version(void);

/* The instruction set in use: "x86-64-v4", "x86-64-v3", "x86-64", or "generic" elsewhere. */
HZ_API const char* hz_isa(void);

/* Use a named instruction set from now on, in every thread; NULL returns to the best one.
   HZ_INVALID if this build or this processor lacks it. For tests and measurements. */
HZ_API int32_t hz_set_isa(const char* name);

/* Handles, for what has state. A renderer draws on the CPU or on one GPU. Calls on one handle may
   come from several threads; on a CUDA renderer they take turns, so give each thread a renderer of
   its own to overlap them. A predictor belongs to its renderer. Destroying a handle while a call
   on it runs is an error that is not detected. A failed call leaves the handle usable.

   No NVIDIA library is linked: "cuda" opens the driver (libcuda.so.1) when the renderer is
   created, and a machine without one gets HZ_UNAVAILABLE. */
typedef struct hz_renderer hz_renderer;
typedef struct hz_predictor hz_predictor;

/* Zero it, set `size`, then what differs from the default. */
typedef struct hz_renderer_options {
    size_t size;               /* sizeof(hz_renderer_options) */
    int32_t threads;           /* "cpu": as in hz_measure */
    int32_t device;            /* "cuda": ordinal of the GPU */
    void* stream;              /* "cuda": where everything is queued, a CUstream or cudaStream_t of
                                  the GPU's primary context; NULL: one of the renderer's own, which
                                  does not wait for work on the default stream. That one is named
                                  by CU_STREAM_LEGACY or cudaStreamLegacy. */
    const char* kernels;       /* "cuda": path of the compiled kernels; NULL: hz_kernels.fatbin in
                                  the folder of this library */
    const void* kernels_image; /* "cuda": instead of a path, the file's bytes (any module that
                                  cuModuleLoadData takes); read before the call returns */
    size_t kernels_size;
} hz_renderer_options;

/* Make a renderer.

   backend  "cpu" or "cuda".
   options  NULL for the defaults.
   HZ_INVALID for an unknown backend, device or damaged option; HZ_UNAVAILABLE without driver, GPU
   or kernels for this GPU. */
HZ_API int32_t hz_renderer_create(const char* backend, const hz_renderer_options* options,
                                  hz_renderer** renderer);

/* Wait for what is queued and release everything; NULL is allowed. Predictors made for the
   renderer must be destroyed first. */
HZ_API void hz_renderer_destroy(hz_renderer* renderer);

/* What draws, for a log: "cpu x86-64-v4" or "cuda:0 NVIDIA H200". Lives as long as the handle. */
HZ_API const char* hz_renderer_name(const hz_renderer* renderer);

/* hz_measure, hz_render and a 256x256 hz_thumbnail. The pictures are in host memory, of any
   strides; a CUDA renderer copies them through pinned memory and returns with the result. */
HZ_API int32_t hz_renderer_measure(hz_renderer* renderer, const hz_image* image,
                                   hz_program* program);
HZ_API int32_t hz_renderer_render(hz_renderer* renderer, const hz_image* image, const hz_mask* mask,
                                  const hz_program* program, const hz_image* out);
HZ_API int32_t hz_renderer_thumbnail(hz_renderer* renderer, const hz_image* image,
                                     const hz_mask* mask, float* composite, float* coverage);
/* hz_region_thumbnails; host memory likewise. */
HZ_API int32_t hz_renderer_region_thumbnails(hz_renderer* renderer, const hz_image* image,
                                             const hz_mask* mask, float* foreground,
                                             float* background);

/* The whole way in one call: predict (if there is a predictor), measure, draw. Host memory.

   predictor  made for this renderer, or NULL: `program` holds the arguments.
   mask       needed with a predictor; NULL without one means the whole image.
   strength   argument = identity + strength * (argument - identity), 0 to 1.5; 1 as predicted.
   out        as in hz_render.
   program    in: count, operations and arguments, without a predictor (NULL with one is allowed).
              out: operations, arguments (clamped, as drawn) and statistics.
   A mask that is empty, or vanishes in the thumbnail, gives identity arguments with a predictor. For
   one that looks at foreground and background apart, a mask whose bounding box is one pixel wide or
   high is HZ_INVALID, and `out` is not touched. */
HZ_API int32_t hz_renderer_harmonize(hz_renderer* renderer, hz_predictor* predictor,
                                     const hz_image* image, const hz_mask* mask, double strength,
                                     const hz_image* out, hz_program* program);

/* The same with pictures in device memory, queued on the renderer's stream: returns at once, and
   the pictures must stay until the stream has passed. "cuda" only (HZ_INVALID on the CPU). Ordinary
   memory of the host and memory of another GPU are refused; pinned memory of the host is drawn
   where it lies, slowly. `program` is read before the call returns. A mask that
   hz_renderer_harmonize refuses for its thin box gives identity arguments here. */
HZ_API int32_t hz_renderer_enqueue(hz_renderer* renderer, hz_predictor* predictor,
                                   const hz_image* image, const hz_mask* mask, double strength,
                                   const hz_image* out, const hz_program* program);

/* Queue one frame of harmonizer_cuda.h: the phases HZ_PHASE_* that are named, with device memory.
   A `workspace` of NULL stands for the renderer's own. For a predictor of your own between the
   phases, on the same stream. "cuda" only. */
struct hz_frame;
HZ_API int32_t hz_renderer_enqueue_frame(hz_renderer* renderer, const struct hz_frame* frame,
                                         int32_t phases);

/* Wait for everything queued; then `program`, if not NULL, receives the last frame's operations,
   arguments as drawn and statistics. Errors of queued work come back here. */
HZ_API int32_t hz_renderer_synchronize(hz_renderer* renderer, hz_program* program);

/* A predictor of the application's own.

   composite  1x3x256x256 floats in [0,1], planar R, G, B; coverage 1x1x256x256. In host memory for
              a CPU renderer, else in device memory that is ready when `stream` gets there.
   arguments  out: one float for each operation; device memory too, to be written on `stream`.
   stream     CUstream; NULL for a CPU renderer.
   Returns 0, or anything else for a failure (HZ_MODEL). Must not throw or call the renderer. */
typedef int32_t (*hz_predict)(void* user, const float* composite, const float* coverage,
                              float* arguments, void* stream);

/* Wrap a function of the application. `operations`: what it predicts, HZ_OP_* in drawing order, not
   HZ_OP_PIECEWISE_CURVE: for curves, call hz_renderer_region_thumbnails and give a program. */
HZ_API int32_t hz_predictor_create(hz_renderer* renderer, hz_predict predict, void* user,
                                   const int32_t* operations, int32_t count,
                                   hz_predictor** predictor);

/* Zero it, set `size`, then what differs from the default. */
typedef struct hz_engine_options {
    size_t size;               /* sizeof(hz_engine_options) */
    const int32_t* operations; /* what the engine predicts, in drawing order (HZ_DEFAULT_FILTERS: */
    int32_t count;             /* the default model's); NULL: what the engine names itself, or
                                  piecewise_curve for an engine with the input `foreground` */
    const char* library;       /* path of TensorRT's library; NULL: libnvinfer.so.<major>, where the
                                  system finds it */
    const char* label;         /* what the foreground shows, for an engine with the input `label`:
                                  "person", "animal", "food", "vehicle" or "other"; NULL: other */
} hz_engine_options;

/* Load a TensorRT engine (build_engine.py or trtexec made it) for a CUDA renderer; it runs on the
   renderer's stream. Which network it is shows in its inputs: composite Nx3x256x256 and mask
   Nx1x256x256, or foreground and background Nx3x256x256 each and perhaps label Nx5 (S2CRNet). Its
   output is arguments NxK, a number for each operation and 192, 384 or 576 for piecewise_curve.
   An engine of build_engine.py names its operations in its network's name; one that does not, as
   trtexec's, is refused without `operations`.
   HZ_INVALID for an unknown label, one for an engine that reads none, or other operations than the
   engine names; HZ_UNAVAILABLE in a build
   without HARMONIZER_TENSORRT; HZ_MODEL for a file that is no engine, or one of TensorRT-RTX, of
   another TensorRT, GPU or model. */
HZ_API int32_t hz_predictor_load_engine(hz_renderer* renderer, const char* path,
                                        const hz_engine_options* options, hz_predictor** predictor);

/* How many operations' arguments it predicts. */
HZ_API int32_t hz_predictor_count(const hz_predictor* predictor);

/* Wait for queued frames that an engine predicts, and release it; NULL is allowed. */
HZ_API void hz_predictor_destroy(hz_predictor* predictor);

#ifdef __cplusplus
}
#endif

#endif
