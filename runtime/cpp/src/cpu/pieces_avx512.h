/* Curves whose pieces lie in registers of AVX-512: see pieces.h. */
#pragma once

#include "cpu/avx512.h"
#include "cpu/blocks.h"

namespace HZ_NAMESPACE {

/* A curve's pieces in registers. */
struct Pieces {
    __m512 low[hz_cpu::kPieceDegree + 2], high[hz_cpu::kPieceDegree + 2];

    explicit Pieces(const hz_cpu::CurvePieces& pieces) {
        for (int k = 0; k <= hz_cpu::kPieceDegree; ++k) {
            low[k] = _mm512_load_ps(pieces.coefficients[k]);
            high[k] = _mm512_load_ps(pieces.coefficients[k] + 16);
        }
        low[hz_cpu::kPieceDegree + 1] = _mm512_load_ps(pieces.doubts);
        high[hz_cpu::kPieceDegree + 1] = _mm512_load_ps(pieces.doubts + 16);
    }

    HZ_FN __m512 at(int k, __m512i piece) const {
        return _mm512_permutex2var_ps(low[k], piece, high[k]);
    }

    /* The curve at 16 values, in what it was fitted in, and how far that may be off. */
    HZ_FN __m512 value(__m512 v, __m512& doubt) const {
        constexpr int kFirst = 2 * (127 + hz_cpu::kPieceOctave); /* half octaves from 2^-127 on */
        const __m512 t = _mm512_min_ps(v, _mm512_sub_ps(_mm512_set1_ps(1), v));
        const __m512i half_octave = _mm512_srli_epi32(_mm512_castps_si512(t), 22);
        __m512i piece = _mm512_subs_epu16(half_octave, _mm512_set1_epi32(kFirst));
        piece = _mm512_min_epi32(piece, _mm512_set1_epi32(15)); /* t = 1/2 */
        const __mmask16 upper = _mm512_cmp_ps_mask(v, _mm512_set1_ps(0.5f), _CMP_GE_OQ);
        piece = _mm512_mask_add_epi32(piece, upper, piece, _mm512_set1_epi32(16));
        __m512 value = at(hz_cpu::kPieceDegree, piece);
        for (int k = hz_cpu::kPieceDegree - 1; k >= 0; --k)
            value = _mm512_fmadd_ps(value, t, at(k, piece));
        doubt = at(hz_cpu::kPieceDegree + 1, piece);
        return value;
    }
};

/* Planes through the curve, where it is bounded well enough; `left` says which pixels have a value
   that is not, a bit each. Pieces go through both ends of the curve, which count as bounded if
   `exact_ends`. Returns whether any pixel is left. */
bool draw_pieces(const hz_cpu::CurvePieces& curve, int n, bool exact_ends, Planes<float>& planes,
                 __mmask16 (&left)[kBlock / 16]) {
    const Pieces pieces(curve);
    const __m512 bound = _mm512_set1_ps(hz_cpu::kPieceError);
    float* const values[3] = {planes.r, planes.g, planes.b};
    __mmask16 any = 0;
    for (int i = 0; i < n; i += 16) {
        __mmask16 beyond = 0;
        for (int c = 0; c < 3; ++c) {
            __m512 doubt;
            const __m512 v = _mm512_load_ps(values[c] + i);
            const Floats value = pieces.value(v, doubt);
            _mm512_store_ps(values[c] + i, clip(value).v);
            __mmask16 own = _mm512_cmp_ps_mask(doubt, bound, _CMP_GT_OQ);
            if (exact_ends) {
                own = _mm512_mask_cmp_ps_mask(own, v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
                own = _mm512_mask_cmp_ps_mask(own, v, _mm512_set1_ps(1), _CMP_NEQ_UQ);
            }
            beyond |= own;
        }
        left[i / 16] = beyond;
        any |= beyond;
    }
    return any != 0;
}

}  // namespace HZ_NAMESPACE
