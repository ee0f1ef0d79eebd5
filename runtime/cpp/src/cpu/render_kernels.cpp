/* Drawing rows; compiled once for each instruction set. */
#include "cpu/block_io.h"
#include "cpu/bytes.h"
#if defined(__AVX512BW__)
#include "cpu/pieces_avx512.h"
#endif

namespace HZ_NAMESPACE {

/* All steps over the block's pixels. */
template <typename T, typename S>
void draw_planes(const Block& block, Planes<T>& planes) {
    load_source<T, S>(block, planes);
    run_steps(*block.job.steps, 0, block.job.steps->count, block.n, planes);
}

/* Drawn planes under their mask to the picture. */
template <typename T, typename S>
void finish_block(const Block& block, Cover cover, Planes<T>& planes) {
    alignas(64) T coverage[kBlock];
    if (cover != Cover::all) {
        block.mask.read(block.n, coverage);
        Planes<T> source;
        load_source<T, S>(block, source);
        blend(coverage, source, block.n, planes);
    }
    const T* const drawn[3] = {planes.r, planes.g, planes.b};
    store_block<S>(block, cover, drawn, coverage, Quantise<S, T>());
}

template <typename T, typename S>
void draw_block(const Block& block, Cover cover) {
    Planes<T> planes;
    draw_planes<T, S>(block, planes);
    finish_block<T, S>(block, cover, planes);
}

#if defined(__AVX512BW__)
/* The pixels that pieces left, by all steps in T. */
template <typename T, typename S>
void draw_left(const Block& block, const __mmask16 (&left)[kBlock / 16], Planes<float>& drawn) {
    const hz_image& image = block.job.image;
    Planes<T> planes;
    int index[kBlock], count = 0;
    for (int first = 0; first < block.n; first += 16)
        for (unsigned bits = left[first / 16]; bits; bits &= bits - 1) {
            const int i = first + __builtin_ctz(bits);
            if (i >= block.n) break;
            const char* pixel = block.in + i * image.pixel_stride;
            planes.r[count] = unit_value<T>(load<S>(pixel));
            planes.g[count] = unit_value<T>(load<S>(pixel + image.channel_stride));
            planes.b[count] = unit_value<T>(load<S>(pixel + 2 * image.channel_stride));
            index[count++] = i;
        }
    planes.pad_from(count);
    run_steps(*block.job.steps, 0, block.job.steps->count, count, planes);
    for (int k = 0; k < count; ++k) {
        drawn.r[index[k]] = float(planes.r[k]);
        drawn.g[index[k]] = float(planes.g[k]);
        drawn.b[index[k]] = float(planes.b[k]);
    }
}

/* The steps up to the curve in float, and the curve by its pieces. */
template <typename S>
void draw_piece_block(const Block& block, Cover cover) {
    Planes<float> planes;
    __mmask16 left[kBlock / 16];
    load_source<float, S>(block, planes);
    run_steps(*block.job.steps, 0, block.job.suffix, block.n, planes);
    if (draw_pieces(*block.job.pieces, block.n, block.job.in_float, planes, left)) {
        if (block.job.in_float)
            draw_left<float, S>(block, left, planes);
        else
            draw_left<double, S>(block, left, planes);
    }
    finish_block<float, S>(block, cover, planes);
}
#endif

template <typename S>
void draw_any_block(const Block& block, Cover cover) {
#if defined(__AVX512BW__)
    if (block.job.pieces) return draw_piece_block<S>(block, cover);
#endif
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

/* The block two further on: a picture that no cache holds is then read and written to while this
   block is drawn. */
template <typename S>
HZ_FN void fetch_ahead(const Block& block) {
    constexpr int64_t kLine = 64;
    const int64_t in = block.job.image.pixel_stride * kBlock,
                  out = block.job.out.pixel_stride * kBlock;
    if (in < 0 || in > 4096 || out < 0 || out > 4096) return;
    for (int64_t i = 0; i < in; i += kLine) __builtin_prefetch(block.in + 2 * in + i, 0);
    if (!block.job.in_place)
        for (int64_t i = 0; i < out; i += kLine) __builtin_prefetch(block.out + 2 * out + i, 1);
}

template <typename S>
void render_rows(const RenderJob& job, int64_t first, int64_t end,
                 void (*draw)(const Block&, Cover), Doubts* doubts = nullptr) {
    for (int64_t y = first; y < end; ++y)
        for (int64_t x = 0; x < job.image.width; x += kBlock) {
            const char* mask = static_cast<const char*>(job.mask.data);
            if (mask) mask += y * job.mask.row_stride + x * job.mask.pixel_stride;
            const Block block = {job,
                                 doubts,
                                 static_cast<const char*>(job.image.data) +
                                     y * job.image.row_stride + x * job.image.pixel_stride,
                                 static_cast<char*>(job.out.data) + y * job.out.row_stride +
                                     x * job.out.pixel_stride,
                                 {mask, job.mask.pixel_stride, job.mask.type},
                                 int(job.image.width - x < kBlock ? job.image.width - x : kBlock)};
            fetch_ahead<S>(block);
            draw_covered<S>(block, draw);
        }
}

void render(const RenderJob& job, int64_t first, int64_t end) {
    if (job.image.type == HZ_U8) {
        Doubts doubts;
        render_rows<uint8_t>(job, first, end, draw_byte_block, &doubts);
        if (doubts.count) draw_doubtful(job, doubts);
    } else if (job.image.type == HZ_U16)
        render_rows<uint16_t>(job, first, end, draw_any_block<uint16_t>);
    else
        render_rows<float>(job, first, end, draw_any_block<float>);
}

}  // namespace HZ_NAMESPACE
