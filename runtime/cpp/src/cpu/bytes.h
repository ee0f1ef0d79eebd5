/* Drawing 8-bit blocks: tables before and after the operations that mix channels. See ByteDrawing.

   Included by files that are compiled once for each instruction set; see blocks.h. */
#pragma once

#include "cpu/block_io.h"
#if defined(__AVX512BW__)
#include "cpu/bytes_avx512.h"
#endif

namespace HZ_NAMESPACE {

using hz_cpu::kBeginning;
using hz_cpu::kCellShift;
using hz_cpu::kDoubtPositions;
using hz_cpu::kPositionBits;
using hz_cpu::kSteep;

/* Float rounding may carry a value over the limit between two levels when it lies this near. Such
   pixels - one in a thousand, but many more where an operation halves a difference - are drawn
   again in double. */
constexpr float kDoubtLevels = 1e-4f;

/* A pixel: red in the lowest byte, then green, blue, and whether it is in doubt. */
typedef uint32_t Word;
constexpr int kDoubtShift = 24;

HZ_FN Word word_of(Word r, Word g, Word b) { return r | g << 8 | b << 16; }

HZ_FN Word source_word(const Block& block, int i) {
    const char* pixel = block.in + i * block.job.image.pixel_stride;
    const int64_t channel_stride = block.job.image.channel_stride;
    return word_of(load<uint8_t>(pixel), load<uint8_t>(pixel + channel_stride),
                   load<uint8_t>(pixel + 2 * channel_stride));
}

/* Two 4-byte entries side by side, as one store: these loops are bound by the number of stores. */
template <typename Entry>
HZ_FN void store_two(void* address, const Entry& first, const Entry& second) {
    static_assert(sizeof(Entry) == 4);
    uint32_t low, high;
    memcpy(&low, &first, 4);
    memcpy(&high, &second, 4);
    const uint64_t both = low | uint64_t(high) << 32;
    memcpy(address, &both, 8);
}

/* Bytes through the prefix's tables to planes. */
void load_bytes(const Block& block, Planes<float>& planes) {
    const hz_image& image = block.job.image;
    const float (*table)[256] = block.job.byte_drawing->prefix_float;
    const int n = block.n;
    with_layout<uint8_t>(image.pixel_stride, image.channel_stride, [&](auto ps, auto cs) {
        const auto entry = [&](const char* pixel, int c) -> const float& {
            return table[c][load<uint8_t>(pixel + c * int64_t(cs))];
        };
        const char* pixel = block.in;
        int i = 0;
        for (; i + 1 < n; i += 2, pixel += 2 * int64_t(ps)) {
            const char* next = pixel + int64_t(ps);
            store_two(&planes.r[i], entry(pixel, 0), entry(next, 0));
            store_two(&planes.g[i], entry(pixel, 1), entry(next, 1));
            store_two(&planes.b[i], entry(pixel, 2), entry(next, 2));
        }
        if (i < n) {
            planes.r[i] = entry(pixel, 0);
            planes.g[i] = entry(pixel, 1);
            planes.b[i] = entry(pixel, 2);
        }
    });
    planes.pad_from(n);
}

/* The same by arithmetic, where the prefix's tables are clamped lines. */
void load_lines(const Block& block, Planes<float>& planes) {
    const hz_image& image = block.job.image;
    const hz_cpu::TableLine red = block.job.byte_drawing->lines[0],
                            green = block.job.byte_drawing->lines[1],
                            blue = block.job.byte_drawing->lines[2];
    const auto on_line = [](const hz_cpu::TableLine& line, const char* value) {
        const float v = line.slope * float(load<uint8_t>(value)) + line.offset;
        const float raised = v > line.low ? v : line.low;
        return raised < line.high ? raised : line.high;
    };
    with_layout<uint8_t>(image.pixel_stride, image.channel_stride, [&](auto ps, auto cs) {
        for (int i = 0; i < block.n; ++i) {
            const char* pixel = block.in + i * int64_t(ps);
            planes.r[i] = on_line(red, pixel);
            planes.g[i] = on_line(green, pixel + int64_t(cs));
            planes.b[i] = on_line(blue, pixel + 2 * int64_t(cs));
        }
    });
    planes.pad_from(block.n);
}

/* A program that is all prefix: three tables from byte to byte. */
void look_up_bytes(const Block& block, Word* words) {
    const hz_image& image = block.job.image;
    const uint8_t (*table)[256] = block.job.byte_drawing->levels;
    const int n = block.n;
    with_layout<uint8_t>(image.pixel_stride, image.channel_stride, [&](auto ps, auto cs) {
        const char* pixel = block.in;
        for (int i = 0; i < n; ++i, pixel += int64_t(ps))
            words[i] = word_of(table[0][load<uint8_t>(pixel)],
                               table[1][load<uint8_t>(pixel + int64_t(cs))],
                               table[2][load<uint8_t>(pixel + 2 * int64_t(cs))]);
    });
}

/* Round the planes; returns the words' union. */
Word round_planes(const Planes<float>& planes, int n, Word* __restrict words) {
    const auto level = [](float value, Word& doubt) {
        const float scaled = clip(value) * 255.0f + 0.5f;
        const int whole = int(scaled);
        const float rest = scaled - float(whole);
        doubt |= Word(rest < kDoubtLevels) | Word(rest > 1 - kDoubtLevels);
        return Word(whole);
    };
    Word met = 0;
    for (int i = 0; i < n; ++i) {
        Word doubt = 0;
        const Word word = word_of(level(planes.r[i], doubt), level(planes.g[i], doubt),
                                  level(planes.b[i], doubt));
        words[i] = word | doubt << kDoubtShift;
        met |= words[i];
    }
    return met;
}

/* Find the cells of one plane's values, and the positions relative to the cells' beginnings. */
void find_cells(const uint32_t* cells, const float* __restrict values, int n,
                uint32_t* __restrict found, int32_t* __restrict positions) {
    for (int i = 0; i < n; ++i) positions[i] = int32_t(values[i] * float(1 << kPositionBits));
    int i = 0;
    for (; i + 1 < n; i += 2) {
        uint64_t both;
        memcpy(&both, &positions[i], sizeof both);
        uint64_t first = uint32_t(both) >> kCellShift;
        /* Keeps the compiler from a vector gather, which is slower here than single loads. */
        __asm__("" : "+r"(first));
        store_two(&found[i], cells[first], cells[both >> (32 + kCellShift)]);
    }
    if (i < n) found[i] = cells[positions[i] >> kCellShift];
}

/* The planes through the suffix's curve; returns the words' union. */
Word look_up_planes(const uint32_t* cells, const Planes<float>& planes, int n,
                    Word* __restrict words) {
    alignas(64) uint32_t found[3][kBlock];
    alignas(64) int32_t positions[3][kBlock];
    find_cells(cells, planes.r, n, found[0], positions[0]);
    find_cells(cells, planes.g, n, found[1], positions[1]);
    find_cells(cells, planes.b, n, found[2], positions[2]);
    Word met = 0;
    for (int i = 0; i < n; ++i) {
        const uint32_t r = found[0][i], g = found[1][i], b = found[2][i];
        const int32_t past_r = positions[0][i] - int32_t(r & kBeginning),
                      past_g = positions[1][i] - int32_t(g & kBeginning),
                      past_b = positions[2][i] - int32_t(b & kBeginning);
        /* The end level, less one where the position is before the beginning: all of it in the
           highest byte, which wraps round as ByteDrawing's first cell needs. */
        const Word word = word_of((r + (uint32_t(past_r >> 31) << 24)) >> 24,
                                  (g + (uint32_t(past_g >> 31) << 24)) >> 24,
                                  (b + (uint32_t(past_b >> 31) << 24)) >> 24);
        const uint32_t near_r = uint32_t(past_r) + kDoubtPositions,
                       near_g = uint32_t(past_g) + kDoubtPositions,
                       near_b = uint32_t(past_b) + kDoubtPositions;
        const uint32_t nearest_rg = near_r < near_g ? near_r : near_g;
        const uint32_t nearest = nearest_rg < near_b ? nearest_rg : near_b;
        static_assert(kSteep << 1 == 1u << kDoubtShift);
        words[i] = word | ((r | g | b) & kSteep) << 1 |
                   Word(nearest <= 2 * kDoubtPositions) << kDoubtShift;
        met |= words[i];
    }
    return met;
}

/* Bytes through the prefix to planes: by lines where these suffice, else by tables. */
void load_prefix(const Block& block, bool in_lines, Planes<float>& planes) {
#if defined(__AVX512BW__)
    if (in_lines && packed(block.job.image)) return load_lines_packed(block, planes);
#endif
    if (in_lines)
        load_lines(block, planes);
    else
        load_bytes(block, planes);
}

void load_prefix(const Block& block, Planes<double>& planes) {
    const double (*table)[256] = block.job.byte_drawing->prefix;
    const hz_image& image = block.job.image;
    for (int i = 0; i < block.n; ++i) {
        const char* pixel = block.in + i * image.pixel_stride;
        planes.r[i] = table[0][load<uint8_t>(pixel)];
        planes.g[i] = table[1][load<uint8_t>(pixel + image.channel_stride)];
        planes.b[i] = table[2][load<uint8_t>(pixel + 2 * image.channel_stride)];
    }
    planes.pad_from(block.n);
}

/* The steps up to the curve, in double where float does not suffice for them. */
void draw_middle(const Block& block, bool in_lines, Planes<float>& planes) {
    const ByteDrawing& drawing = *block.job.byte_drawing;
    const Steps& steps = *block.job.steps;
    if (drawing.middle_in_float) {
        load_prefix(block, in_lines, planes);
        return run_steps(steps, drawing.middle, drawing.suffix, block.n, planes);
    }
    Planes<double> exact;
    load_prefix(block, exact);
    run_steps(steps, drawing.middle, drawing.suffix, block.n, exact);
    const double* const from[3] = {exact.r, exact.g, exact.b};
    float* const to[3] = {planes.r, planes.g, planes.b};
    for (int c = 0; c < 3; ++c)
        for (int i = 0; i < padded<float>(block.n); ++i) {
            /* What is just below 1 must not look like 1, where the curve may be steep. */
            constexpr float kBelowOne = 0x1.fffffep-1f;
            const float nearest = float(from[c][i]);
            to[c][i] = nearest == 1 && from[c][i] < 1 ? kBelowOne : nearest;
        }
}

/* A soft mask, in float; returns whether any pixel is in doubt. */
bool blend_in_float(const Block& block, const float* coverage, Planes<float>& planes, Word* words) {
    Planes<float> source;
    load_pixels<float, uint8_t>(block.in, block.job.image.pixel_stride,
                                block.job.image.channel_stride, block.n, source);
    blend(coverage, source, block.n, planes);
    return round_planes(planes, block.n, words) >> kDoubtShift;
}

/* Draw in float; returns whether any pixel is in doubt. */
bool draw_in_float(const Block& block, Cover cover, const float* coverage, Word* words) {
    const ByteDrawing& drawing = *block.job.byte_drawing;
    const Steps& steps = *block.job.steps;
    const int n = block.n;
    const bool soft = cover == Cover::soft, curved = drawing.suffix < steps.count;
    Planes<float> planes;
#if defined(__AVX512BW__)
    if (curved && (!soft || packed(block.job.image))) {
        draw_middle(block, drawing.prefix_in_lines, planes);
        return soft ? blend_pieces(drawing, planes, coverage, block, words)
                    : look_up_pieces(drawing, planes, n, words);
    }
#endif
    if (curved && !soft) {
        draw_middle(block, drawing.prefix_in_lines, planes);
        return look_up_planes(drawing.cells, planes, n, words) >> kDoubtShift;
    }
    if (!(curved ? drawing.all_in_float : drawing.middle_in_float)) {
        memset(words, 255, size_t(n) * sizeof(Word)); /* all in doubt */
        return true;
    }
    load_prefix(block, !soft && drawing.prefix_in_lines, planes);
    run_steps(steps, drawing.middle, steps.count, n, planes);
    if (soft) return blend_in_float(block, coverage, planes, words);
    return round_planes(planes, n, words) >> kDoubtShift;
}

/* Pixels in doubt, of any blocks, until they fill vectors: few blocks have more than one. */
struct Doubts {
    Planes<double> planes, source;
    alignas(64) double coverage[kBlock];
    char* targets[kBlock];
    int count = 0;
};

/* Draw them in double, from what their source bytes were, over what has been stored. */
void draw_doubtful(const RenderJob& job, Doubts& doubts) {
    const int count = doubts.count;
    doubts.planes.pad_from(count);
    doubts.source.pad_from(count);
    pad(doubts.coverage, count);
    run_steps(*job.steps, job.byte_drawing->middle, job.steps->count, count, doubts.planes);
    blend(doubts.coverage, doubts.source, count, doubts.planes);
    const Quantise<uint8_t, double> level;
    for (int k = 0; k < count; ++k) {
        char* const pixel = doubts.targets[k];
        store(pixel, level(doubts.planes.r[k]));
        store(pixel + job.out.channel_stride, level(doubts.planes.g[k]));
        store(pixel + 2 * job.out.channel_stride, level(doubts.planes.b[k]));
    }
    doubts.count = 0;
}

/* Put down the pixels in doubt, whose words lose the mark. */
void note_doubtful(const Block& block, Cover cover, Word* words) {
    const ByteDrawing& drawing = *block.job.byte_drawing;
    Doubts& doubts = *block.doubts;
    constexpr int kAtOnce = 16; /* few pixels are in doubt */
    for (int i = block.n; i < kBlock; ++i) words[i] = 0;
    int marked = 0;
    for (int i = 0; i < kBlock; ++i) marked += words[i] >> kDoubtShift != 0;
    /* Blocks before this one have been stored; this one has not. */
    if (doubts.count + marked > kBlock) draw_doubtful(block.job, doubts);
    for (int i = 0; i < block.n; ++i) {
        if (i % kAtOnce == 0) {
            Word some = 0;
            for (int k = 0; k < kAtOnce; ++k) some |= words[i + k];
            if (!(some >> kDoubtShift)) {
                i += kAtOnce - 1;
                continue;
            }
        }
        if (!(words[i] >> kDoubtShift)) continue;
        words[i] &= (Word(1) << kDoubtShift) - 1;
        if (cover != Cover::all && block.mask.is_zero(i)) continue;
        const int k = doubts.count++;
        const Word word = source_word(block, i);
        const uint8_t r = uint8_t(word), g = uint8_t(word >> 8), b = uint8_t(word >> 16);
        doubts.planes.r[k] = drawing.prefix[0][r];
        doubts.planes.g[k] = drawing.prefix[1][g];
        doubts.planes.b[k] = drawing.prefix[2][b];
        doubts.source.r[k] = unit_value<double>(r);
        doubts.source.g[k] = unit_value<double>(g);
        doubts.source.b[k] = unit_value<double>(b);
        doubts.coverage[k] = cover == Cover::soft ? block.mask.coverage(i) : 1;
        doubts.targets[k] = block.out + i * block.job.out.pixel_stride;
    }
}

void store_words(const Block& block, const Word* words) {
#if defined(__AVX512BW__)
    if (packed(block.job.out)) return store_packed_words(block, words);
#endif
    const int64_t pixel_stride = block.job.out.pixel_stride;
    const int64_t channel_stride = block.job.out.channel_stride;
    const int n = block.n;
    char* pixel = block.out;
    int i = 0;
    if (pixel_stride == 3 && channel_stride == 1)
        /* Two pixels as eight bytes, the last two of which are the next pixel's and are covered by
           it. Little-endian, as x86-64 and arm64 are. */
        for (; i + 2 < n; i += 2, pixel += 6)
            store(pixel, uint64_t(words[i]) | uint64_t(words[i + 1]) << 24);
    for (; i < n; ++i, pixel += pixel_stride) {
        store(pixel, uint8_t(words[i]));
        store(pixel + channel_stride, uint8_t(words[i] >> 8));
        store(pixel + 2 * channel_stride, uint8_t(words[i] >> 16));
    }
}

void draw_byte_block(const Block& block, Cover cover) {
    const ByteDrawing& drawing = *block.job.byte_drawing;
    alignas(64) Word words[kBlock];
    alignas(64) float coverage[kBlock];
    if (cover != Cover::all) block.mask.read(block.n, coverage);
    if (cover != Cover::soft && drawing.middle == block.job.steps->count) {
        look_up_bytes(block, words);
    } else if (draw_in_float(block, cover, cover == Cover::all ? nullptr : coverage, words)) {
        note_doubtful(block, cover, words);
    }
    if (cover != Cover::all && any_zero(coverage, block.n))
        for (int i = 0; i < block.n; ++i)
            if (coverage[i] == 0) words[i] = source_word(block, i);
    store_words(block, words);
}

}  // namespace HZ_NAMESPACE
