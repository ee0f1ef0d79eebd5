/* Drawing 8-bit blocks by AVX-512: what a compiler does not make of the loops in bytes.h. Sixteen
   pixels at a time, a channel in a register. See CurvePieces. */
#pragma once

#include "cpu/avx512.h"
#include "cpu/block_io.h"
#include "cpu/pieces_avx512.h"

namespace HZ_NAMESPACE {

/* The bytes of 16 pixels of 3 bytes: first, those of each four pixels into a lane of their own. */
HZ_FN __m512i lanes_of_pixels() {
    return _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
}
HZ_FN __m512i pixels_of_lanes() {
    return _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
}

/* Whether pixels are 3 or 4 bytes apart and their channels neighbours, in either order. */
HZ_FN bool packed(const hz_image& image) {
    return (image.pixel_stride == 3 || image.pixel_stride == 4) &&
           (image.channel_stride == 1 || image.channel_stride == -1);
}

/* The bytes of `count` pixels of 4 bytes each, of which the fourth says nothing. */
HZ_FN __m512i load_packed(const char* pixels, int64_t pixel_stride, int count) {
    if (pixel_stride == 4) {
        /* Three bytes of the last pixel: the fourth may lie beyond the picture. */
        const __mmask64 bytes = 0x7777777777777777ull >> (64 - 4 * count);
        return _mm512_maskz_loadu_epi8(bytes, pixels);
    }
    const __mmask64 bytes = ~0ull >> (64 - 3 * count);
    const __m512i in_lanes =
        _mm512_permutexvar_epi32(lanes_of_pixels(), _mm512_maskz_loadu_epi8(bytes, pixels));
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
    return _mm512_shuffle_epi8(in_lanes, _mm512_broadcast_i32x4(spread));
}

HZ_FN const char* lowest_byte(const char* red, int64_t channel_stride) {
    return channel_stride < 0 ? red - 2 : red;
}

/* Bytes through the prefix's lines to planes. */
void load_lines_packed(const Block& block, Planes<float>& planes) {
    const hz_image& image = block.job.image;
    const bool reversed = image.channel_stride < 0;
    const hz_cpu::TableLine* const lines = block.job.byte_drawing->lines;
    float* const targets[3] = {reversed ? planes.b : planes.r, planes.g,
                               reversed ? planes.r : planes.b};
    __m512 slope[3], offset[3], low[3], high[3];
    for (int k = 0; k < 3; ++k) {
        const hz_cpu::TableLine& line = lines[reversed ? 2 - k : k];
        slope[k] = _mm512_set1_ps(line.slope);
        offset[k] = _mm512_set1_ps(line.offset);
        low[k] = _mm512_set1_ps(line.low);
        high[k] = _mm512_set1_ps(line.high);
    }
    const __m512i byte = _mm512_set1_epi32(255);
    const char* pixels = lowest_byte(block.in, image.channel_stride);
    for (int i = 0; i < block.n; i += 16, pixels += 16 * image.pixel_stride) {
        const int left = block.n - i;
        const __m512i words = load_packed(pixels, image.pixel_stride, left < 16 ? left : 16);
        const __m512i values[3] = {_mm512_and_si512(words, byte),
                                   _mm512_and_si512(_mm512_srli_epi32(words, 8), byte),
                                   _mm512_and_si512(_mm512_srli_epi32(words, 16), byte)};
        for (int k = 0; k < 3; ++k) {
            const __m512 on_line =
                _mm512_fmadd_ps(slope[k], _mm512_cvtepi32_ps(values[k]), offset[k]);
            _mm512_store_ps(targets[k] + i, _mm512_min_ps(_mm512_max_ps(on_line, low[k]), high[k]));
        }
    }
}

/* Levels rounded; `nearest` grows to the distance from a level, doubt included: past 1/2 the next
   level may be meant. */
HZ_FN __m512i round_levels(__m512 levels, __m512 doubt, __m512& nearest) {
    const __m512i whole = _mm512_cvtps_epi32(levels);
    const __m512 off = _mm512_abs_ps(_mm512_sub_ps(levels, _mm512_cvtepi32_ps(whole)));
    nearest = _mm512_max_ps(nearest, _mm512_add_ps(off, doubt));
    return whole;
}

/* Three channels' levels as words, with their doubt; adds to `met` what is in doubt. */
HZ_FN void store_levels(const __m512i* whole, __m512 nearest, uint32_t* words, __mmask16& met) {
    /* "Not less" is also true of what is no number. */
    const __mmask16 doubtful = _mm512_cmp_ps_mask(nearest, _mm512_set1_ps(0.5f), _CMP_NLT_UQ);
    __m512i word = _mm512_or_si512(whole[0], _mm512_slli_epi32(whole[1], 8));
    word = _mm512_or_si512(word, _mm512_slli_epi32(whole[2], 16));
    word = _mm512_mask_or_epi32(word, doubtful, word, _mm512_set1_epi32(1 << 24));
    _mm512_store_si512(words, word);
    met |= doubtful;
}

/* The levels of 16 values, and how far they may be off. Black and white that were found in double
   (`exact`) are exactly that, and pieces go through both ends of the curve: without this, a steep
   end would put all that a clip made black in doubt. */
HZ_FN __m512 levels_of(const Pieces& pieces, bool exact, const float* values, __m512& doubt) {
    const __m512 v = _mm512_load_ps(values), levels = pieces.value(v, doubt);
    if (!exact) return levels;
    const __mmask16 end = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_EQ_OQ) |
                          _mm512_cmp_ps_mask(v, _mm512_set1_ps(1), _CMP_EQ_OQ);
    doubt = _mm512_mask_mov_ps(doubt, end, _mm512_set1_ps(1e-4f));
    return levels;
}

/* The planes through the suffix's curve; whether any pixel is in doubt. */
bool look_up_pieces(const ByteDrawing& drawing, const Planes<float>& planes, int n,
                    uint32_t* words) {
    const Pieces pieces(drawing.pieces);
    const bool exact = !drawing.middle_in_float;
    const float* const values[3] = {planes.r, planes.g, planes.b};
    __mmask16 met = 0;
    for (int i = 0; i < n; i += 16) {
        __m512 nearest = _mm512_setzero_ps();
        __m512i whole[3];
        for (int c = 0; c < 3; ++c) {
            __m512 doubt;
            const __m512 level = levels_of(pieces, exact, values[c] + i, doubt);
            whole[c] = round_levels(level, doubt, nearest);
        }
        store_levels(whole, nearest, words + i, met);
    }
    return met != 0;
}

/* The same under a soft mask: blended with the source, in levels. */
bool blend_pieces(const ByteDrawing& drawing, const Planes<float>& planes, const float* coverage,
                  const Block& block, uint32_t* words) {
    const hz_image& image = block.job.image;
    const bool reversed = image.channel_stride < 0;
    const Pieces pieces(drawing.pieces);
    const bool exact = !drawing.middle_in_float;
    const float* const values[3] = {planes.r, planes.g, planes.b};
    const __m512i byte = _mm512_set1_epi32(255);
    const __m512 zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1), full = _mm512_set1_ps(255);
    const __m512 rounding = _mm512_set1_ps(3e-5f); /* of the mask, a product and the sum */
    const char* pixels = lowest_byte(block.in, image.channel_stride);
    __mmask16 met = 0;
    for (int i = 0; i < block.n; i += 16, pixels += 16 * image.pixel_stride) {
        const int left = block.n - i;
        const __m512i source = load_packed(pixels, image.pixel_stride, left < 16 ? left : 16);
        const __m512 cover = _mm512_load_ps(coverage + i), rest = _mm512_sub_ps(one, cover);
        __m512 nearest = zero;
        __m512i whole[3];
        for (int c = 0; c < 3; ++c) {
            __m512 doubt;
            const __m512 level = levels_of(pieces, exact, values[c] + i, doubt);
            const unsigned shift = unsigned(8 * (reversed ? 2 - c : c));
            const __m512 before = _mm512_cvtepi32_ps(
                _mm512_and_si512(_mm512_srlv_epi32(source, _mm512_set1_epi32(int(shift))), byte));
            const __m512 blended = _mm512_fmadd_ps(cover, level, _mm512_mul_ps(rest, before));
            doubt = _mm512_fmadd_ps(_mm512_abs_ps(cover), doubt, rounding);
            whole[c] =
                round_levels(_mm512_min_ps(_mm512_max_ps(blended, zero), full), doubt, nearest);
        }
        store_levels(whole, nearest, words + i, met);
    }
    return met != 0;
}

/* Words to packed pixels; the fourth byte of four is not touched. */
void store_packed_words(const Block& block, const uint32_t* words) {
    const hz_image& out = block.job.out;
    const bool reversed = out.channel_stride < 0;
    const __m128i turn = _mm_setr_epi8(2, 1, 0, 3, 6, 5, 4, 7, 10, 9, 8, 11, 14, 13, 12, 15);
    const __m128i join = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m128i join_turned =
        _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m512i in_lane = _mm512_broadcast_i32x4(out.pixel_stride == 4 ? turn
                                                   : reversed            ? join_turned
                                                                         : join);
    char* pixels = block.out - (reversed ? 2 : 0);
    for (int i = 0; i < block.n; i += 16, pixels += 16 * out.pixel_stride) {
        const int count = block.n - i < 16 ? block.n - i : 16;
        __m512i bytes = _mm512_load_si512(words + i);
        if (out.pixel_stride == 4) {
            if (reversed) bytes = _mm512_shuffle_epi8(bytes, in_lane);
            _mm512_mask_storeu_epi8(pixels, 0x7777777777777777ull >> (64 - 4 * count), bytes);
        } else {
            bytes =
                _mm512_permutexvar_epi32(pixels_of_lanes(), _mm512_shuffle_epi8(bytes, in_lane));
            _mm512_mask_storeu_epi8(pixels, ~0ull >> (64 - 3 * count), bytes);
        }
    }
}

}  // namespace HZ_NAMESPACE
