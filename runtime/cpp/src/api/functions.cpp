/* The C interface without handles: checks, then a pass on the CPU. */
#include <string>

#include "api/checks.h"
#include "api/errors.h"
#include "cpu/kernels.h"
#include "cpu/passes.h"
#include "cpu/region_thumbnails.h"
#include "cpu/thumbnail.h"
#include "harmonizer.h"

using namespace hz_api;

namespace {

constexpr int32_t kLargestThumbnail = 1 << 14;

}  // namespace

int32_t hz_measure(const hz_image* image, hz_program* program, int32_t threads) {
    return guarded([&] {
        check_image(image, "image");
        if (program)
            for (hz_step& step : program->steps)
                for (double& statistic : step.statistics) statistic = 0;
        check_program(program);
        hz_cpu::measure(*image, *program, threads);
    });
}

int32_t hz_render(const hz_image* image, const hz_mask* mask, const hz_program* program,
                  const hz_image* out, int32_t threads) {
    return guarded([&] {
        check_image(image, "image");
        check_mask(mask, *image);
        check_program(program);
        check_image(out, "out");
        check_out(*image, mask, *out);
        hz_cpu::draw(*image, mask, *program, *out, threads);
    });
}

int32_t hz_thumbnail(const hz_image* image, const hz_mask* mask, int32_t size, float* composite,
                     float* coverage) {
    return guarded([&] {
        check_image(image, "image");
        check_mask(mask, *image);
        if (size < 1 || size > kLargestThumbnail)
            throw Invalid("size must be 1 to " + std::to_string(kLargestThumbnail) + "; got " +
                          std::to_string(size) + ".");
        if (!composite || !coverage) throw Invalid("composite and coverage must not be null.");
        hz_cpu::make_thumbnail(*image, mask, size, composite, coverage);
    });
}

int32_t hz_region_thumbnails(const hz_image* image, const hz_mask* mask, float* foreground,
                             float* background, int32_t threads) {
    return guarded([&] {
        check_region_inputs(image, mask, foreground, background);
        hz_cpu::make_region_thumbnails(*image, *mask, foreground, background, threads);
    });
}

const char* hz_version(void) { return HZ_VERSION; }

const char* hz_isa(void) { return hz_cpu::kernels().name; }

int32_t hz_set_isa(const char* name) {
    return guarded([&] {
        if (!hz_cpu::select_kernels(name))
            throw Invalid(std::string("this build or this processor lacks the instruction set ") +
                          name + ".");
    });
}
