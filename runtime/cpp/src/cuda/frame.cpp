/* The rules of an hz_frame, and what follows from its operations: see frame.h. */
#include "cuda/frame.h"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "api/checks.h"
#include "api/errors.h"
#include "cuda/surface.h"

namespace hz_cuda {
namespace {

using hz_api::Invalid;

constexpr int kScopes[] = HZ_OP_SCOPES;
constexpr int kStatistics[] = HZ_OP_STATISTICS;

/* How many leading steps keep the channels apart. */
int leading_channel_steps(const hz_frame& frame) {
    int count = 0;
    while (count < frame.count && kScopes[frame.operations[count]] != HZ_SCOPE_PIXEL) ++count;
    return count;
}

/* A GPU faults at values across their natural boundaries. */
void refuse_misaligned(const char* name, int32_t type, const void* data,
                       std::initializer_list<int64_t> strides) {
    const int64_t size = hz_api::element_size(type);
    bool aligned = reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size) == 0;
    for (int64_t stride : strides) aligned = aligned && stride % size == 0;
    if (!aligned)
        throw Invalid(std::string(name) + " must have its data and its strides at multiples of " +
                      std::to_string(size) +
                      " bytes, the size of its values. Copy it to memory of "
                      "its own.");
}

void check_alignment(const hz_image& image, const char* name) {
    refuse_misaligned(name, image.type, image.data,
                      {image.row_stride, image.pixel_stride, image.channel_stride});
}

void check_alignment(const hz_mask& mask, const char* name) {
    refuse_misaligned(name, mask.type, mask.data, {mask.row_stride, mask.pixel_stride});
}

}  // namespace

void check_frame(const hz_frame* frame, int32_t phase) {
    constexpr int32_t kPhases = HZ_PHASE_MEASURE | HZ_PHASE_DRAW | HZ_PHASE_PREPARE;
    if (!frame) throw Invalid("frame must not be null.");
    if (phase < 1 || (phase & ~kPhases))
        throw Invalid(
            "phase must be made of HZ_PHASE_MEASURE, HZ_PHASE_DRAW and "
            "HZ_PHASE_PREPARE; got " +
            std::to_string(phase) + ".");
    const hz_mask* mask = frame->mask.data ? &frame->mask : nullptr;
    if (frame->surface) {
        check_surface(frame->surface, "surface");
        hz_api::check_mask(mask, picture_of(*frame->surface));
        if (phase & HZ_PHASE_DRAW) {
            check_surface(frame->surface_out, "surface_out");
            check_surface_out(*frame->surface, mask, *frame->surface_out);
        }
    } else {
        hz_api::check_image(&frame->image, "image");
        hz_api::check_mask(mask, frame->image);
        check_alignment(frame->image, "image");
        if (phase & HZ_PHASE_DRAW) {
            hz_api::check_image(&frame->out, "out");
            hz_api::check_out(frame->image, mask, frame->out);
            check_alignment(frame->out, "out");
        }
    }
    if (mask) check_alignment(*mask, "mask");
    if (!frame->workspace ||
        reinterpret_cast<uintptr_t>(frame->workspace) % HZ_WORKSPACE_ALIGNMENT != 0)
        throw Invalid("workspace must be device memory aligned to " +
                      std::to_string(HZ_WORKSPACE_ALIGNMENT) + " bytes.");
    if (!frame->composite != !frame->coverage)
        throw Invalid("composite and coverage must both be given, or both be null.");
    if (!frame->foreground != !frame->background)
        throw Invalid("foreground and background must both be given, or both be null.");
    if (frame->foreground && frame->surface)
        throw Invalid(
            "image must be given for foreground and background; got a surface. "
            "Convert it to R, G and B.");
    if (frame->foreground && !mask)
        throw Invalid("mask must be given for foreground and background: it tells them apart.");
    const bool wanted = frame->composite || frame->foreground;
    if (wanted && frame->thumbnail_type != HZ_F32 && frame->thumbnail_type != HZ_F16)
        throw Invalid("thumbnail_type must be HZ_F32 or HZ_F16; got " +
                      std::to_string(frame->thumbnail_type) + ".");
    if (frame->count < 0 || frame->count > HZ_MAX_STEPS)
        throw Invalid("count must be 0 to " + std::to_string(HZ_MAX_STEPS) + " operations; got " +
                      std::to_string(frame->count) + ".");
    for (int i = 0; i < frame->count; ++i)
        if (frame->operations[i] < 0 || frame->operations[i] >= HZ_OP_COUNT)
            throw Invalid("operation " + std::to_string(i) + " must be a code from 0 to " +
                          std::to_string(HZ_OP_COUNT - 1) + "; got " +
                          std::to_string(frame->operations[i]) + ".");
    const int32_t* const end = frame->operations + frame->count;
    const auto curves = std::count(frame->operations, end, HZ_OP_PIECEWISE_CURVE);
    if (curves > 1 || frame->stages < curves || frame->stages > curves * HZ_CURVE_STAGES)
        throw Invalid("stages must be 1 to " + std::to_string(HZ_CURVE_STAGES) +
                      " with piecewise_curve, which may come once, and else 0; got " +
                      std::to_string(frame->stages) + " with " + std::to_string(curves) + ".");
    if (!(frame->strength >= 0 && frame->strength <= HZ_MAX_STRENGTH))
        throw Invalid("strength must lie in [0, 1.5]; got " + std::to_string(frame->strength) +
                      ".");
    if (!frame->arguments && frame->strength != 1)
        throw Invalid("strength must be 1 where the workspace's program has the arguments; got " +
                      std::to_string(frame->strength) + ". Scale these arguments instead.");
}

bool measures(int operation) { return kStatistics[operation] != HZ_STATISTICS_NONE; }

bool is_in_histogram(const hz_frame& frame, int step) {
    return frame.image.type == HZ_U8 && step <= leading_channel_steps(frame);
}

bool reads_histogram(const hz_frame& frame) {
    if (frame.statistics_given) return false;
    for (int i = 0; i < frame.count; ++i)
        if (measures(frame.operations[i]) && is_in_histogram(frame, i)) return true;
    return false;
}

bool bends_pixels(const hz_frame& frame) {
    const int32_t* const end = frame.operations + frame.count;
    const int32_t* const mixing = std::find_if(frame.operations, end, [](int32_t operation) {
        return kScopes[operation] == HZ_SCOPE_PIXEL;
    });
    return std::find(mixing, end, HZ_OP_PIECEWISE_CURVE) != end;
}

}  // namespace hz_cuda
