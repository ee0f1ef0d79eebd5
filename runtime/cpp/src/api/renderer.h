/* What stands behind the handles of the C interface. */
#pragma once

#include <string>

#include "harmonizer.h"
#include "harmonizer_surface.h"

struct hz_frame;

/* Predicts arguments from thumbnails. Belongs to one renderer. */
struct hz_predictor {
    virtual ~hz_predictor() = default;
    /* The thumbnails are composite and coverage, or with `regions` foreground and background. Host
       memory and a null stream for a CPU renderer, else device memory; queued on the stream. Throws
       hz_api::BadModel. */
    virtual void predict(const void* first, const void* second, float* arguments, void* stream) = 0;

    /* How many it answers with. */
    int32_t numbers() const { return count + (stages > 0 ? stages * kCurveNumbers - 1 : 0); }

    static constexpr int32_t kCurveNumbers = 3 * HZ_CURVE_KNOTS;

    const hz_renderer* owner = nullptr;
    int32_t thumbnail_type = HZ_F32; /* or HZ_F16 */
    bool regions = false;            /* whether it looks at foreground and background apart */
    int32_t stages = 0;              /* of HZ_OP_PIECEWISE_CURVE, if it predicts that */
    int32_t count = 0;               /* of the operations */
    int32_t operations[HZ_MAX_STEPS] = {};
};

/* All arguments are checked by the caller; methods may be called from several threads at once. */
struct hz_renderer {
    virtual ~hz_renderer() = default;
    virtual void measure(const hz_image& image, hz_program& program) = 0;
    virtual void render(const hz_image& image, const hz_mask* mask, const hz_program& program,
                        const hz_image& out) = 0;
    virtual void thumbnail(const hz_image& image, const hz_mask* mask, float* composite,
                           float* coverage) = 0;
    virtual void region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                                   float* background) = 0;
    virtual void harmonize(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                           double strength, const hz_image& out, hz_program& program) = 0;
    /* These four throw hz_api::Invalid where there is no device. */
    virtual void enqueue(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                         double strength, const hz_image& out, const hz_program* program) = 0;
    virtual void enqueue_surface(hz_predictor* predictor, const hz_surface& image,
                                 const hz_mask* mask, double strength, const hz_surface& out,
                                 const hz_program* program) = 0;
    virtual void enqueue_frame(const hz_frame& frame, int32_t phases) = 0;
    virtual void synchronize(hz_program* program) = 0;
    /* Ordinal of the GPU; -1 for the CPU. */
    virtual int device() const = 0;

    std::string name;
};

namespace hz_api {

/* identity + strength * (argument - identity), clamped to the operation's range as it is drawn;
   likewise every slope of curves. */
void scale_arguments(hz_program& program, double strength);

}  // namespace hz_api

namespace hz_cpu {

hz_renderer* make_cpu_renderer(const hz_renderer_options& options);

}  // namespace hz_cpu

namespace hz_cuda {

/* Throws hz_api::Unavailable without driver, GPU or kernels, hz_api::Invalid for bad options. */
hz_renderer* make_cuda_renderer(const hz_renderer_options& options);

/* Throws hz_api::Unavailable or hz_api::BadModel, hz_api::Invalid for a label that does not fit. */
hz_predictor* load_engine(hz_renderer& renderer, const char* path,
                          const hz_engine_options& options);

}  // namespace hz_cuda
