/* Sums of packed bytes by AVX-512: 192 bytes at a time, so that a byte of a vector keeps its channel. */
#pragma once

#include "cpu/avx512.h"
#include "cpu/blocks.h"

namespace HZ_NAMESPACE {

/* Which bytes of three vectors are of each channel: as weights, and as bits. */
struct Channels {
    alignas(64) int8_t weights[3][3][64];
    uint64_t bits[3][3];
    constexpr Channels() : weights{}, bits{} {
        for (int part = 0; part < 3; ++part)
            for (int i = 0; i < 64; ++i) {
                const int channel = (64 * part + i) % 3;
                weights[part][channel][i] = 1;
                bits[part][channel] |= uint64_t{1} << i;
            }
    }
};

/* Add one row of `bytes` bytes; `limits` and `sums` in the order of the bytes. */
HZ_FN void sum_row(const uint8_t* row, int64_t bytes, const uint8_t (&limits)[3],
                   uint64_t (&above)[3], uint64_t (&upto)[3]) {
    static constexpr Channels channels;
    /* A lane of 16 bits takes 3 times 255 of each 192 bytes, and is added up as a signed number. */
    constexpr int64_t kMost = 42 * 192;
    __m512i limit[3];
    for (int part = 0; part < 3; ++part) {
        limit[part] = _mm512_setzero_si512();
        for (int c = 0; c < 3; ++c)
            limit[part] =
                _mm512_mask_set1_epi8(limit[part], channels.bits[part][c], char(limits[c]));
    }
    for (int64_t done = 0; done < bytes;) {
        const int64_t end = bytes - done < kMost ? bytes : done + kMost;
        __m512i sums[3] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        for (; done < end; done += 192)
            for (int part = 0; part < 3; ++part) {
                const int64_t left = end - done - 64 * part;
                const __mmask64 there = left >= 64 ? ~uint64_t{0}
                                        : left > 0 ? (uint64_t{1} << left) - 1
                                                   : 0;
                const __m512i values = _mm512_maskz_loadu_epi8(there, row + done + 64 * part);
                const __mmask64 over = _mm512_cmpgt_epu8_mask(values, limit[part]);
                const __m512i kept = _mm512_maskz_mov_epi8(~over, values);
                for (int c = 0; c < 3; ++c) {
                    const __m512i weights = _mm512_load_si512(channels.weights[part][c]);
                    sums[c] = _mm512_add_epi16(sums[c], _mm512_maddubs_epi16(kept, weights));
                    above[c] += uint64_t(__builtin_popcountll(over & channels.bits[part][c]));
                }
            }
        for (int c = 0; c < 3; ++c)
            upto[c] +=
                uint64_t(_mm512_reduce_add_epi32(_mm512_madd_epi16(sums[c], _mm512_set1_epi16(1))));
        done = end;
    }
}

}  // namespace HZ_NAMESPACE
