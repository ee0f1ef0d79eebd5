#include "api/checks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <string>

namespace hz_api {
namespace {

constexpr int64_t kMostPixels = (int64_t{1} << 32) - 1; /* what 32-bit counters hold */

/* Farther apart nothing of one picture lies; sums of a few such distances and addresses fit. */
constexpr int64_t kFarthest = int64_t{1} << 56;

constexpr const char* kNames[] = HZ_OP_NAMES;

[[noreturn]] void refuse(const std::string& message) { throw Invalid(message); }

/* Where the elements of a picture lie: `channels` values, `channel_stride` apart, in each pixel. */
struct Lattice {
    const char* data;
    int64_t width, height, row_stride, pixel_stride, channel_stride, channels, element;
};

Lattice lattice_of(const hz_image& image) {
    return {static_cast<const char*>(image.data),
            image.width,
            image.height,
            image.row_stride,
            image.pixel_stride,
            image.channel_stride,
            3,
            element_size(image.type)};
}

Lattice lattice_of(const hz_mask& mask) {
    return {static_cast<const char*>(mask.data),
            mask.width,
            mask.height,
            mask.row_stride,
            mask.pixel_stride,
            0,
            1,
            element_size(mask.type)};
}

struct Range {
    intptr_t begin, end;
};

Range range_of(const Lattice& lattice) {
    Range range = {reinterpret_cast<intptr_t>(lattice.data), 0};
    range.end = range.begin + lattice.element;
    const int64_t steps[] = {(lattice.height - 1) * lattice.row_stride,
                             (lattice.width - 1) * lattice.pixel_stride,
                             (lattice.channels - 1) * lattice.channel_stride};
    for (int64_t step : steps) (step < 0 ? range.begin : range.end) += step;
    return range;
}

/* Interleaved in the same pixels (such as RGB and A of RGBA) without a byte in common. */
bool interleaved(const Lattice& a, const Lattice& b) {
    if (a.row_stride != b.row_stride || a.pixel_stride != b.pixel_stride) return false;
    const int64_t pixel = std::llabs(a.pixel_stride);
    int64_t lowest = INT64_MAX, highest = INT64_MIN;
    const Lattice* both[] = {&a, &b};
    for (const Lattice* lattice : both)
        for (int64_t c = 0; c < lattice->channels; ++c) {
            const int64_t at = (lattice->data - a.data) + c * lattice->channel_stride;
            lowest = at < lowest ? at : lowest;
            highest = at + lattice->element > highest ? at + lattice->element : highest;
        }
    if (highest - lowest > pixel) return false; /* they reach into neighbouring pixels */
    for (int64_t i = 0; i < a.channels; ++i)
        for (int64_t j = 0; j < b.channels; ++j) {
            const int64_t apart = (b.data - a.data) + j * b.channel_stride - i * a.channel_stride;
            if (apart < a.element && -apart < b.element) return false;
        }
    return true;
}

bool overlap(const Lattice& a, const Lattice& b) {
    const Range first = range_of(a), second = range_of(b);
    return first.begin < second.end && second.begin < first.end && !interleaved(a, b);
}

std::string size_of(int64_t height, int64_t width) {
    return std::to_string(height) + "x" + std::to_string(width);
}

/* Nested from the smallest stride to the largest: a picture may be interleaved, planar or mirrored,
   but each of its values has memory of its own. */
void check_own_memory(const hz_image& out) {
    struct Axis {
        const char* name;
        int64_t count, stride;
    };
    Axis axes[] = {{"channel_stride", 3, out.channel_stride},
                   {"pixel_stride", out.width, out.pixel_stride},
                   {"row_stride", out.height, out.row_stride}};
    std::sort(std::begin(axes), std::end(axes), [](const Axis& a, const Axis& b) {
        return std::llabs(a.stride) < std::llabs(b.stride);
    });
    int64_t bytes = element_size(out.type);
    for (const Axis& axis : axes) {
        check_apart(axis.name, axis.count, axis.stride, bytes);
        bytes += (axis.count - 1) * std::llabs(axis.stride);
    }
}

void check_curves(const hz_curves& curves, const std::string& label) {
    if (curves.stages < 1 || curves.stages > HZ_CURVE_STAGES)
        refuse(label + " (piecewise_curve) must come with 1 to " + std::to_string(HZ_CURVE_STAGES) +
               " stages in the program's curves; got " + std::to_string(curves.stages) + ".");
    const float* slopes = curves.slopes[0][0];
    for (int i = 0; i < curves.stages * 3 * HZ_CURVE_KNOTS; ++i)
        if (!std::isfinite(slopes[i]))
            refuse(label + " (piecewise_curve) must have finite slopes; number " +
                   std::to_string(i) + " is not.");
}

}  // namespace

int64_t element_size(int32_t type) { return type == HZ_F32 ? 4 : type == HZ_U16 ? 2 : 1; }

bool same_memory(const hz_image& a, const hz_image& b) {
    return a.data == b.data && a.row_stride == b.row_stride && a.pixel_stride == b.pixel_stride &&
           a.channel_stride == b.channel_stride;
}

void check_image(const hz_image* image, const char* name) {
    const std::string label(name);
    if (!image || !image->data) refuse(label + " must not be null.");
    if (image->type != HZ_U8 && image->type != HZ_U16 && image->type != HZ_F32)
        refuse(label + " must have type HZ_U8, HZ_U16 or HZ_F32; got " +
               std::to_string(image->type) + ".");
    if (image->width < 1 || image->height < 1 || image->width > kMostPixels / image->height)
        refuse(label + " must have 1 to " + std::to_string(kMostPixels) + " pixels; got " +
               size_of(image->height, image->width) + ".");
    check_reach(name, "row_stride", image->height, image->row_stride);
    check_reach(name, "pixel_stride", image->width, image->pixel_stride);
    check_reach(name, "channel_stride", 3, image->channel_stride);
}

void check_mask(const hz_mask* mask, const hz_image& image) {
    if (!mask) return;
    if (!mask->data) refuse("mask must have data; pass no mask at all for the whole image.");
    if (mask->type < HZ_U8 || mask->type > HZ_BOOL)
        refuse("mask must have type HZ_U8, HZ_U16, HZ_F32 or HZ_BOOL; got " +
               std::to_string(mask->type) + ".");
    if (mask->width != image.width || mask->height != image.height)
        refuse("mask must have the image's height and width; got " +
               size_of(mask->height, mask->width) + " for a " + size_of(image.height, image.width) +
               " image.");
    check_reach("mask", "row_stride", mask->height, mask->row_stride);
    check_reach("mask", "pixel_stride", mask->width, mask->pixel_stride);
}

void check_region_inputs(const hz_image* image, const hz_mask* mask, const float* foreground,
                         const float* background) {
    check_image(image, "image");
    if (!mask) refuse("mask must not be null: it tells foreground from background.");
    check_mask(mask, *image);
    if (!foreground || !background) refuse("foreground and background must not be null.");
}

void check_program(const hz_program* program) {
    if (!program) refuse("program must not be null.");
    if (program->count < 0 || program->count > HZ_MAX_STEPS)
        refuse("program must have 0 to " + std::to_string(HZ_MAX_STEPS) + " steps; got " +
               std::to_string(program->count) + ".");
    int curves = 0;
    for (int i = 0; i < program->count; ++i) {
        const hz_step& step = program->steps[i];
        const std::string label = "step " + std::to_string(i);
        if (step.operation < 0 || step.operation >= HZ_OP_COUNT)
            refuse(label + " must be an operation code from 0 to " +
                   std::to_string(HZ_OP_COUNT - 1) + "; got " + std::to_string(step.operation) +
                   ".");
        if (!std::isfinite(step.argument) || !std::isfinite(step.statistics[0]) ||
            !std::isfinite(step.statistics[1]) || !std::isfinite(step.statistics[2]))
            refuse(label + " (" + kNames[step.operation] +
                   ") must have a finite argument and finite statistics.");
        if (step.operation != HZ_OP_PIECEWISE_CURVE) continue;
        if (++curves > 1)
            refuse("program must have piecewise_curve once at most; " + label +
                   " is another. Draw the second one afterwards.");
        check_curves(program->curves, label);
    }
}

void check_reach(const char* name, const char* stride_name, int64_t count, int64_t stride) {
    const int64_t apart =
        stride < -kFarthest || stride > kFarthest ? kFarthest + 1 : std::llabs(stride);
    if (apart > kFarthest || (apart > 0 && count - 1 > kFarthest / apart))
        refuse(std::string(name) + " must lie in the memory of one machine; a " + stride_name +
               " of " + std::to_string(stride) + " bytes, " + std::to_string(count) +
               " times, reaches beyond. Correct it.");
}

void check_apart(const char* stride_name, int64_t count, int64_t stride, int64_t bytes) {
    if (count > 1 && stride < bytes && stride > -bytes)
        refuse("`out` must have memory of its own for each value; a " + std::string(stride_name) +
               " of " + std::to_string(stride) +
               " bytes lays some over others. Correct it, or allocate more.");
}

void check_out(const hz_image& image, const hz_mask* mask, const hz_image& out) {
    if (out.type != image.type || out.width != image.width || out.height != image.height)
        refuse("out must have the image's type, height and width; got type " +
               std::to_string(out.type) + ", " + size_of(out.height, out.width) +
               " for an image of type " + std::to_string(image.type) + ", " +
               size_of(image.height, image.width) + ".");
    check_own_memory(out);
    if (!same_memory(image, out) && overlap(lattice_of(image), lattice_of(out)))
        refuse(
            "`out` must be the image itself or share no memory with it; it overlaps it in part. "
            "Pass the image, or memory of its own.");
    if (mask && overlap(lattice_of(*mask), lattice_of(out)))
        refuse("`out` must share no memory with the mask; it overlaps it. Pass memory of its own.");
}

void refuse_empty_region() {
    throw Invalid(
        "`mask` must cover something, whose bounding box is looked at on its own; got "
        "an empty mask. Select the foreground.");
}

void refuse_thin_region(const std::string& found) {
    throw Invalid(
        "`mask` must cover a region 2 pixels high and wide or more, whose bounding box "
        "is looked at on its own; got " +
        found + ". Select the whole foreground.");
}

}  // namespace hz_api
