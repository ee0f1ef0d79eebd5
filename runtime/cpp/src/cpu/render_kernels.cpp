/* Drawing rows; compiled once for each instruction set. */
#include "cpu/block_io.h"
#include "cpu/bytes.h"

namespace HZ_NAMESPACE {

template <typename T, typename S>
void draw_block(const Block& block, Cover cover) {
    const hz_image& image = block.job.image;
    Planes<T> planes;
    load_pixels<T, S>(block.in, image.pixel_stride, image.channel_stride, block.n, planes);
    run_steps(*block.job.steps, 0, block.job.steps->count, block.n, planes);
    alignas(64) T coverage[kBlock];
    if (cover != Cover::all) {
        block.mask.read(block.n, coverage);
        Planes<T> source;
        load_pixels<T, S>(block.in, image.pixel_stride, image.channel_stride, block.n, source);
        blend(coverage, source, block.n, planes);
    }
    const T* const drawn[3] = {planes.r, planes.g, planes.b};
    store_block<S>(block, cover, drawn, coverage, Quantise<S, T>());
}

template <typename S>
void draw_any_block(const Block& block, Cover cover) {
    if (block.job.in_float)
        draw_block<float, S>(block, cover);
    else
        draw_block<double, S>(block, cover);
}

/* Copy what the mask leaves out at both ends of the block, draw the rest: where the mask is a
   shape with straight edges, no block is left with a mixed mask. */
template <typename S>
void draw_covered(const Block& block, void (*draw)(const Block&, Cover)) {
    const Cover cover = block.mask.cover(block.n);
    if (cover == Cover::none || block.job.steps->count == 0) return copy_block<S>(block);
    if (cover == Cover::all) return draw(block, cover);
    int first = 0, end = block.n;
    while (block.mask.is_zero(first)) ++first;
    while (block.mask.is_zero(end - 1)) --end;
    const Block covered = block.part(first, end);
    copy_block<S>(block.part(0, first));
    copy_block<S>(block.part(end, block.n));
    draw(covered, covered.mask.cover(covered.n));
}

template <typename S>
void render_rows(const RenderJob& job, int64_t first, int64_t end,
                 void (*draw)(const Block&, Cover)) {
    for (int64_t y = first; y < end; ++y)
        for (int64_t x = 0; x < job.image.width; x += kBlock) {
            const char* mask = static_cast<const char*>(job.mask.data);
            if (mask) mask += y * job.mask.row_stride + x * job.mask.pixel_stride;
            const Block block = {job,
                                 static_cast<const char*>(job.image.data) +
                                     y * job.image.row_stride + x * job.image.pixel_stride,
                                 static_cast<char*>(job.out.data) + y * job.out.row_stride +
                                     x * job.out.pixel_stride,
                                 {mask, job.mask.pixel_stride, job.mask.type},
                                 int(job.image.width - x < kBlock ? job.image.width - x : kBlock)};
            draw_covered<S>(block, draw);
        }
}

void render(const RenderJob& job, int64_t first, int64_t end) {
    if (job.image.type == HZ_U8)
        render_rows<uint8_t>(job, first, end, draw_byte_block);
    else if (job.image.type == HZ_U16)
        render_rows<uint16_t>(job, first, end, draw_any_block<uint16_t>);
    else
        render_rows<float>(job, first, end, draw_any_block<float>);
}

}  // namespace HZ_NAMESPACE
