#include "cuda/surface.h"

#include <cstdint>
#include <string>

#include "api/checks.h"
#include "api/errors.h"

namespace hz_cuda {
namespace {

using hz_api::Invalid;

struct Range {
    intptr_t begin, end;
};

Range range_of(const void* data, int64_t rows, int64_t stride, int64_t row_bytes) {
    const intptr_t first = reinterpret_cast<intptr_t>(data);
    const intptr_t last = first + (rows - 1) * stride;
    return {first < last ? first : last, (first < last ? last : first) + row_bytes};
}

int64_t luma_bytes(const hz_surface& surface) { return surface.width * (is_deep(surface) ? 2 : 1); }

int64_t chroma_bytes(const hz_surface& surface) {
    return (surface.width + 1) / 2 * (is_deep(surface) ? 4 : 2);
}

Range luma_of(const hz_surface& surface) {
    return range_of(surface.luma, surface.height, surface.luma_stride, luma_bytes(surface));
}

Range chroma_of(const hz_surface& surface) {
    return range_of(surface.chroma, (surface.height + 1) / 2, surface.chroma_stride,
                    chroma_bytes(surface));
}

bool overlap(const Range& a, const Range& b) { return a.begin < b.end && b.begin < a.end; }

}  // namespace

bool is_same(const hz_surface& a, const hz_surface& b) {
    return a.luma == b.luma && a.chroma == b.chroma && a.luma_stride == b.luma_stride &&
           a.chroma_stride == b.chroma_stride;
}

hz_image picture_of(const hz_surface& surface) {
    hz_image image = {};
    image.data = surface.luma;
    image.width = surface.width;
    image.height = surface.height;
    image.type = HZ_F32;
    return image;
}

void check_surface(const hz_surface* surface, const char* name) {
    const std::string label(name);
    if (!surface || !surface->luma || !surface->chroma)
        throw Invalid(label + " must have two planes; got null.");
    if (surface->bits != 8 && surface->bits != 10 && surface->bits != 12 && surface->bits != 16)
        throw Invalid(label + " must have 8, 10, 12 or 16 bits; got " +
                      std::to_string(surface->bits) + ".");
    if (surface->matrix != HZ_BT709 && surface->matrix != HZ_BT601 && surface->matrix != HZ_BT2020)
        throw Invalid(label +
                      " must have matrix HZ_BT709 (1), HZ_BT601 (6) or HZ_BT2020 (9); got " +
                      std::to_string(surface->matrix) + ".");
    const hz_image picture = picture_of(*surface);
    hz_api::check_image(&picture, name); /* the size */
    hz_api::check_reach(name, "luma_stride", surface->height, surface->luma_stride);
    hz_api::check_reach(name, "chroma_stride", surface->height, surface->chroma_stride);
    const int64_t pair = is_deep(*surface) ? 4 : 2;
    const auto luma = reinterpret_cast<uintptr_t>(surface->luma);
    const auto chroma = reinterpret_cast<uintptr_t>(surface->chroma);
    if (luma % static_cast<uintptr_t>(pair) || chroma % static_cast<uintptr_t>(pair) ||
        surface->luma_stride % pair || surface->chroma_stride % pair)
        throw Invalid(label + " must have planes and rows at multiples of " + std::to_string(pair) +
                      " bytes, two samples. Copy it to memory of its own.");
}

void check_surface_out(const hz_surface& surface, const hz_mask* mask, const hz_surface& out) {
    if (out.width != surface.width || out.height != surface.height || out.bits != surface.bits ||
        out.matrix != surface.matrix || !out.full_range != !surface.full_range)
        throw Invalid("out must have the image's size, bits, matrix and range; got " +
                      std::to_string(out.height) + "x" + std::to_string(out.width) + " of " +
                      std::to_string(out.bits) + " bits for an image of " +
                      std::to_string(surface.height) + "x" + std::to_string(surface.width) +
                      " of " + std::to_string(surface.bits) + " bits. Convert it afterwards.");
    hz_api::check_apart("luma_stride", out.height, out.luma_stride, luma_bytes(out));
    hz_api::check_apart("chroma_stride", (out.height + 1) / 2, out.chroma_stride,
                        chroma_bytes(out));
    const Range luma = luma_of(out), chroma = chroma_of(out);
    const bool shares = overlap(luma, luma_of(surface)) || overlap(luma, chroma_of(surface)) ||
                        overlap(chroma, luma_of(surface)) || overlap(chroma, chroma_of(surface));
    if (overlap(luma, chroma) || (shares && !is_same(surface, out)))
        throw Invalid(
            "`out` must be the image itself or share no memory with it, nor one plane with the "
            "other; it overlaps in part. Pass the image, or memory of its own.");
    if (!mask) return;
    const int64_t across = (mask->width - 1) * mask->pixel_stride;
    const Range covered = range_of(
        static_cast<const char*>(mask->data) + (across < 0 ? across : 0), mask->height,
        mask->row_stride, (across < 0 ? -across : across) + hz_api::element_size(mask->type));
    if (overlap(luma, covered) || overlap(chroma, covered))
        throw Invalid(
            "`out` must share no memory with the mask; it overlaps it. Pass memory of "
            "its own.");
}

}  // namespace hz_cuda
