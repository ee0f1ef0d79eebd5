/* The C interface with handles: checks, then the renderer behind the handle. */
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include "api/checks.h"
#include "api/errors.h"
#include "api/renderer.h"
#include "cuda/surface.h"

using namespace hz_api;

namespace {

template <typename T>
void check_handle(const T* handle, const char* name) {
    if (!handle)
        throw Invalid(std::string("`") + name + "` must be a handle; got null. Create one first.");
}

/* Later versions append fields: an older caller's are completed with zeros. `least`: what every
   version has. */
template <typename Options>
Options read_options(const Options* given, const char* name, size_t least) {
    Options options = {};
    if (!given) return options;
    if (given->size < least || given->size > sizeof(Options) || given->size % alignof(Options))
        throw Invalid(std::string("`") + name + ".size` must be sizeof(" + name + "), " +
                      std::to_string(least) + " to " + std::to_string(sizeof(Options)) + "; got " +
                      std::to_string(given->size) +
                      ". Set it, or build against the header of this library.");
    std::memcpy(static_cast<void*>(&options), given, given->size);
    return options;
}

void check_strength(double strength) {
    if (!(strength >= 0 && strength <= HZ_MAX_STRENGTH))
        throw Invalid("`strength` must lie in [0, 1.5]; got " + std::to_string(strength) +
                      ". 0 draws the composite, 1 what was predicted.");
}

void check_predictor(const hz_predictor* predictor, const hz_renderer* renderer,
                     const hz_mask* mask, const hz_program* program) {
    if (!predictor) return check_program(program);
    if (predictor->owner != renderer)
        throw Invalid(
            "`predictor` must belong to this renderer; it was made for another one. Make one for "
            "each renderer.");
    if (!mask)
        throw Invalid(
            "`mask` must be given with a predictor; got null. Pass one that is 1 in the foreground "
            "and 0 elsewhere.");
}

void check_operations(const int32_t* operations, int32_t count) {
    if (count < 1 || count > HZ_MAX_STEPS)
        throw Invalid("`count` must be 1 to " + std::to_string(HZ_MAX_STEPS) + " operations; got " +
                      std::to_string(count) + ".");
    for (int32_t i = 0; i < count; ++i)
        if (operations[i] < 0 || operations[i] >= HZ_OP_COUNT)
            throw Invalid("`operations` must be codes from 0 to " +
                          std::to_string(HZ_OP_COUNT - 1) + "; got " +
                          std::to_string(operations[i]) + ".");
    if (std::count(operations, operations + count, HZ_OP_PIECEWISE_CURVE) > 1)
        throw Invalid("`operations` must have piecewise_curve once at most; got it more often.");
}

void forget_statistics(hz_program* program) {
    if (!program) return;
    for (hz_step& step : program->steps)
        for (double& statistic : step.statistics) statistic = 0;
}

class CallbackPredictor final : public hz_predictor {
public:
    CallbackPredictor(hz_predict function, void* user) : function_(function), user_(user) {}

    void predict(const void* first, const void* second, float* arguments, void* stream) override {
        const int32_t result = function_(user_, static_cast<const float*>(first),
                                         static_cast<const float*>(second), arguments, stream);
        if (result != 0)
            throw BadModel("the application's predictor must return 0; it returned " +
                           std::to_string(result) + ".");
    }

private:
    hz_predict function_;
    void* user_;
};

}  // namespace

int32_t hz_renderer_create(const char* backend, const hz_renderer_options* options,
                           hz_renderer** renderer) {
    return guarded([&] {
        if (!renderer) throw Invalid("`renderer` must point to where the handle goes; got null.");
        *renderer = nullptr;
        const auto chosen = read_options(options, "hz_renderer_options",
                                         offsetof(hz_renderer_options, kernels_image));
        if (backend && std::strcmp(backend, "cpu") == 0)
            *renderer = hz_cpu::make_cpu_renderer(chosen);
        else if (backend && std::strcmp(backend, "cuda") == 0)
            *renderer = hz_cuda::make_cuda_renderer(chosen);
        else
            throw Invalid(std::string("`backend` must be \"cpu\" or \"cuda\"; got ") +
                          (backend ? backend : "null") + ".");
    });
}

void hz_renderer_destroy(hz_renderer* renderer) { delete renderer; }

const char* hz_renderer_name(const hz_renderer* renderer) {
    return renderer ? renderer->name.c_str() : "";
}

int32_t hz_renderer_measure(hz_renderer* renderer, const hz_image* image, hz_program* program) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_image(image, "image");
        forget_statistics(program);
        check_program(program);
        renderer->measure(*image, *program);
    });
}

int32_t hz_renderer_render(hz_renderer* renderer, const hz_image* image, const hz_mask* mask,
                           const hz_program* program, const hz_image* out) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_image(image, "image");
        check_mask(mask, *image);
        check_program(program);
        check_image(out, "out");
        check_out(*image, mask, *out);
        renderer->render(*image, mask, *program, *out);
    });
}

int32_t hz_renderer_thumbnail(hz_renderer* renderer, const hz_image* image, const hz_mask* mask,
                              float* composite, float* coverage) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_image(image, "image");
        check_mask(mask, *image);
        if (!composite || !coverage) throw Invalid("composite and coverage must not be null.");
        renderer->thumbnail(*image, mask, composite, coverage);
    });
}

int32_t hz_renderer_region_thumbnails(hz_renderer* renderer, const hz_image* image,
                                      const hz_mask* mask, float* foreground, float* background) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_region_inputs(image, mask, foreground, background);
        renderer->region_thumbnails(*image, *mask, foreground, background);
    });
}

int32_t hz_renderer_harmonize(hz_renderer* renderer, hz_predictor* predictor, const hz_image* image,
                              const hz_mask* mask, double strength, const hz_image* out,
                              hz_program* program) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_image(image, "image");
        check_mask(mask, *image);
        check_image(out, "out");
        check_out(*image, mask, *out);
        check_strength(strength);
        if (!predictor) forget_statistics(program);
        check_predictor(predictor, renderer, mask, program);
        hz_program drawn = {};
        if (!predictor) drawn = *program;
        renderer->harmonize(predictor, *image, mask, strength, *out, drawn);
        if (program) *program = drawn;
    });
}

int32_t hz_renderer_enqueue(hz_renderer* renderer, hz_predictor* predictor, const hz_image* image,
                            const hz_mask* mask, double strength, const hz_image* out,
                            const hz_program* program) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        check_image(image, "image");
        check_mask(mask, *image);
        check_image(out, "out");
        check_out(*image, mask, *out);
        check_strength(strength);
        check_predictor(predictor, renderer, mask, program);
        renderer->enqueue(predictor, *image, mask, strength, *out, program);
    });
}

int32_t hz_renderer_enqueue_surface(hz_renderer* renderer, hz_predictor* predictor,
                                    const hz_surface* image, const hz_mask* mask, double strength,
                                    const hz_surface* out, const hz_program* program) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        hz_cuda::check_surface(image, "image");
        check_mask(mask, hz_cuda::picture_of(*image));
        hz_cuda::check_surface(out, "out");
        hz_cuda::check_surface_out(*image, mask, *out);
        check_strength(strength);
        check_predictor(predictor, renderer, mask, program);
        renderer->enqueue_surface(predictor, *image, mask, strength, *out, program);
    });
}

int32_t hz_renderer_enqueue_frame(hz_renderer* renderer, const hz_frame* frame, int32_t phases) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        if (!frame) throw Invalid("`frame` must not be null.");
        renderer->enqueue_frame(*frame, phases);
    });
}

int32_t hz_renderer_synchronize(hz_renderer* renderer, hz_program* program) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        renderer->synchronize(program);
    });
}

int32_t hz_predictor_create(hz_renderer* renderer, hz_predict predict, void* user,
                            const int32_t* operations, int32_t count, hz_predictor** predictor) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        if (!predictor) throw Invalid("`predictor` must point to where the handle goes; got null.");
        *predictor = nullptr;
        if (!predict) throw Invalid("`predict` must be a function; got null.");
        if (!operations) throw Invalid("`operations` must not be null.");
        check_operations(operations, count);
        if (std::count(operations, operations + count, HZ_OP_PIECEWISE_CURVE))
            throw Invalid(
                "`operations` must take one number each; piecewise_curve takes many. Call "
                "hz_renderer_region_thumbnails, and give the curves in a program.");
        auto made = std::make_unique<CallbackPredictor>(predict, user);
        made->owner = renderer;
        made->count = count;
        std::copy_n(operations, count, made->operations);
        *predictor = made.release();
    });
}

int32_t hz_predictor_load_engine(hz_renderer* renderer, const char* path,
                                 const hz_engine_options* options, hz_predictor** predictor) {
    return guarded([&] {
        check_handle(renderer, "renderer");
        if (!predictor) throw Invalid("`predictor` must point to where the handle goes; got null.");
        *predictor = nullptr;
        if (!path) throw Invalid("`path` must name an engine file; got null.");
        const hz_engine_options chosen =
            read_options(options, "hz_engine_options", offsetof(hz_engine_options, label));
        if (chosen.operations) check_operations(chosen.operations, chosen.count);
        if (renderer->device() < 0)
            throw Invalid(
                "`renderer` must be a CUDA renderer for a TensorRT engine; it draws on the CPU. "
                "Create it for \"cuda\", or give the arguments.");
        std::unique_ptr<hz_predictor> made(hz_cuda::load_engine(*renderer, path, chosen));
        made->owner = renderer;
        *predictor = made.release();
    });
}

int32_t hz_predictor_count(const hz_predictor* predictor) {
    return predictor ? predictor->count : 0;
}

void hz_predictor_destroy(hz_predictor* predictor) { delete predictor; }
