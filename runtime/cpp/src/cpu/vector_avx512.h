/* Sixteen floats as a number type for hz_pixel.h. Included with AVX-512 alone.

   A division by instruction takes as long as ten sums; here it is a reciprocal, refined once, and
   the quotient's remainder: right to the last place but one. */
#pragma once

#include "cpu/avx512.h"
#include "hz_float.h"

namespace HZ_NAMESPACE {

struct Floats {
    __m512 v;
    Floats() = default;
    HZ_FN Floats(__m512 values) : v(values) {}
    HZ_FN explicit Floats(double value) : v(_mm512_set1_ps(float(value))) {}
};
struct Words {
    __m512i v;
};

HZ_FN Floats operator+(Floats a, Floats b) { return _mm512_add_ps(a.v, b.v); }
HZ_FN Floats operator-(Floats a, Floats b) { return _mm512_sub_ps(a.v, b.v); }
HZ_FN Floats operator*(Floats a, Floats b) { return _mm512_mul_ps(a.v, b.v); }
HZ_FN Words operator+(Words a, unsigned b) {
    return {_mm512_add_epi32(a.v, _mm512_set1_epi32(int(b)))};
}
HZ_FN Words operator&(Words a, unsigned b) {
    return {_mm512_and_si512(a.v, _mm512_set1_epi32(int(b)))};
}
HZ_FN Words operator|(Words a, unsigned b) {
    return {_mm512_or_si512(a.v, _mm512_set1_epi32(int(b)))};
}
HZ_FN Words operator>>(Words a, int bits) { return {_mm512_srli_epi32(a.v, unsigned(bits))}; }
HZ_FN Words operator<<(Words a, int bits) { return {_mm512_slli_epi32(a.v, unsigned(bits))}; }

template <>
struct Format<Floats> : Format<float> {};
HZ_FN Words bits_of(Floats a) { return {_mm512_castps_si512(a.v)}; }
HZ_FN Floats real_of(Words a) { return _mm512_castsi512_ps(a.v); }

HZ_FN bool above_zero(Floats constant) { return _mm512_cvtss_f32(constant.v) > 0; }
HZ_FN Floats larger(Floats a, Floats b) { return _mm512_max_ps(a.v, b.v); }
HZ_FN Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a.v, b.v); }
/* The second operand stands in for what is no number. */
HZ_FN Floats clip(Floats a) {
    return _mm512_min_ps(_mm512_max_ps(a.v, _mm512_setzero_ps()), _mm512_set1_ps(1));
}
HZ_FN Floats divide(Floats a, Floats b) {
    __m512 inverse = _mm512_rcp14_ps(b.v);
    inverse = _mm512_fmadd_ps(_mm512_fnmadd_ps(b.v, inverse, _mm512_set1_ps(1)), inverse, inverse);
    const __m512 quotient = _mm512_mul_ps(a.v, inverse);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(b.v, quotient, a.v), inverse, quotient);
}

}  // namespace HZ_NAMESPACE
