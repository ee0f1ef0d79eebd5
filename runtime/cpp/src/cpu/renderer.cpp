/* The CPU behind a handle. */
#include <cmath>
#include <cstring>
#include <vector>

#include "api/checks.h"
#include "api/renderer.h"
#include "cpu/kernels.h"
#include "cpu/passes.h"
#include "cpu/region_thumbnails.h"
#include "cpu/thumbnail.h"

namespace hz_cpu {
namespace {

constexpr double kIdentities[] = HZ_OP_IDENTITIES;

template <typename T>
bool any_nonzero(const hz_mask& mask) {
    for (int64_t y = 0; y < mask.height; ++y) {
        const char* row = static_cast<const char*>(mask.data) + y * mask.row_stride;
        for (int64_t x = 0; x < mask.width; ++x) {
            T value;
            std::memcpy(&value, row + x * mask.pixel_stride, sizeof value);
            if (value != T(0)) return true;
        }
    }
    return false;
}

bool has_foreground(const hz_mask& mask) {
    switch (mask.type) {
        case HZ_U16:
            return any_nonzero<uint16_t>(mask);
        case HZ_F32:
            return any_nonzero<float>(mask);
        default:
            return any_nonzero<uint8_t>(mask);
    }
}

class CpuRenderer final : public hz_renderer {
public:
    explicit CpuRenderer(int threads) : threads_(threads) {
        name = std::string("cpu ") + kernels().name;
    }

    void measure(const hz_image& image, hz_program& program) override {
        hz_cpu::measure(image, program, threads_);
    }

    void render(const hz_image& image, const hz_mask* mask, const hz_program& program,
                const hz_image& out) override {
        draw(image, mask, program, out, threads_);
    }

    void thumbnail(const hz_image& image, const hz_mask* mask, float* composite,
                   float* coverage) override {
        make_thumbnail(image, mask, HZ_THUMBNAIL_SIZE, composite, coverage);
    }

    void region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                           float* background) override {
        make_region_thumbnails(image, mask, foreground, background, threads_);
    }

    void harmonize(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                   double strength, const hz_image& out, hz_program& program) override {
        if (predictor) predict(*predictor, image, *mask, program);
        hz_api::scale_arguments(program, strength);
        hz_cpu::measure(image, program, threads_);
        draw(image, mask, program, out, threads_);
    }

    void enqueue(hz_predictor*, const hz_image&, const hz_mask*, double, const hz_image&,
                 const hz_program*) override {
        refuse_device_memory();
    }
    void enqueue_surface(hz_predictor*, const hz_surface&, const hz_mask*, double,
                         const hz_surface&, const hz_program*) override {
        refuse_device_memory();
    }
    void enqueue_frame(const hz_frame&, int32_t) override { refuse_device_memory(); }
    void synchronize(hz_program*) override { refuse_device_memory(); }
    int device() const override { return -1; }

private:
    [[noreturn]] static void refuse_device_memory() {
        throw hz_api::Invalid(
            "`renderer` must be a CUDA renderer for work in device memory; it draws on the CPU. "
            "Create it for \"cuda\", or call hz_renderer_harmonize.");
    }

    static void predict(hz_predictor& predictor, const hz_image& image, const hz_mask& mask,
                        hz_program& program) {
        constexpr size_t plane = size_t{HZ_THUMBNAIL_SIZE} * HZ_THUMBNAIL_SIZE;
        std::vector<float> thumbnails(4 * plane);
        float* const coverage = thumbnails.data() + 3 * plane;
        make_thumbnail(image, &mask, HZ_THUMBNAIL_SIZE, thumbnails.data(), coverage);
        bool seen = false;
        for (size_t i = 0; i < plane; ++i) seen = seen || coverage[i] != 0;
        float arguments[HZ_MAX_STEPS] = {};
        seen = seen && has_foreground(mask);
        if (seen) predictor.predict(thumbnails.data(), coverage, arguments, nullptr);
        program = {};
        program.count = predictor.count;
        for (int i = 0; i < predictor.count; ++i) {
            hz_step& step = program.steps[i];
            step.operation = predictor.operations[i];
            step.argument = seen ? double{arguments[i]} : kIdentities[step.operation];
            if (!std::isfinite(step.argument))
                throw hz_api::BadModel("the predictor must give finite arguments; number " +
                                       std::to_string(i) +
                                       " is not. Check the model and its precision.");
        }
    }

    int threads_;
};

}  // namespace

hz_renderer* make_cpu_renderer(const hz_renderer_options& options) {
    return new CpuRenderer(options.threads);
}

}  // namespace hz_cpu
