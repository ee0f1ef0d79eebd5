/* Sixteen packed pixels (RGB or BGR) of 16 bits or floats at a time: compilers move them one by one. */
#pragma once

#include "cpu/avx512.h"
#include "cpu/blocks.h"

namespace HZ_NAMESPACE {

/* Which word of (r0 g0 r1 g1 ...) and (b0 - b1 - ...), counted on, each stored word is. */
struct InterleaveWords {
    alignas(64) uint16_t index[64];
    constexpr InterleaveWords() : index{} {
        for (int i = 0; i < 48; ++i)
            index[i] = uint16_t(i % 3 == 2 ? 32 + i / 3 * 2 : i / 3 * 2 + i % 3);
    }
};

/* Where 16 pixels' channels are among 48 floats in three vectors, and the other way round: a first
   permutation joins two vectors, a second one adds what the third has. */
struct InterleaveFloats {
    alignas(64) int32_t split[3][2][16], join[3][2][16];
    constexpr InterleaveFloats() : split{}, join{} {
        for (int k = 0; k < 3; ++k)
            for (int i = 0; i < 16; ++i) {
                const int from = 3 * i + k; /* of the 48: what lane i of channel k is */
                split[k][0][i] = from < 32 ? from : 0;
                split[k][1][i] = from < 32 ? i : 16 + from - 32;
                const int channel = (16 * k + i) % 3, pixel = (16 * k + i) / 3;
                join[k][0][i] = channel == 2 ? 0 : 16 * channel + pixel;
                join[k][1][i] = channel == 2 ? 16 + pixel : i;
            }
    }
};

HZ_FN __m512 join_three(const int32_t (&order)[2][16], __m512 a, __m512 b, __m512 c) {
    const __m512 two = _mm512_permutex2var_ps(a, _mm512_load_si512(order[0]), b);
    return _mm512_permutex2var_ps(two, _mm512_load_si512(order[1]), c);
}

/* Pixels to planes, as load_pixels has it; false, and nothing done, for other layouts. */
template <typename T, typename S>
HZ_FN bool load_packed_pixels(const char*, int64_t, int64_t, int, Planes<T>&) {
    return false;
}
template <>
HZ_FN bool load_packed_pixels<float, float>(const char* pixels, int64_t pixel_stride,
                                            int64_t channel_stride, int n, Planes<float>& planes) {
    const bool reversed = channel_stride == -4;
    if (pixel_stride != 12 || (channel_stride != 4 && !reversed)) return false;
    static constexpr InterleaveFloats order;
    float* const targets[3] = {reversed ? planes.b : planes.r, planes.g,
                               reversed ? planes.r : planes.b};
    const char* from = pixels - (reversed ? 8 : 0);
    for (int i = 0; i < n; i += 16, from += 192) {
        /* Of the last pixels only what is there; what is not becomes 0. */
        const int left = 3 * (n - i);
        __m512 part[3];
        for (int k = 0; k < 3; ++k) {
            const int lanes = left - 16 * k < 0 ? 0 : left - 16 * k < 16 ? left - 16 * k : 16;
            part[k] = _mm512_maskz_loadu_ps(__mmask16((1u << lanes) - 1), from + 64 * k);
        }
        for (int k = 0; k < 3; ++k)
            _mm512_store_ps(targets[k] + i, join_three(order.split[k], part[0], part[1], part[2]));
    }
    return true;
}

/* Where 16 pixels' channels are among 48 words. */
struct SplitWords {
    alignas(64) uint16_t index[3][32];
    constexpr SplitWords() : index{} {
        for (int k = 0; k < 3; ++k)
            for (int i = 0; i < 16; ++i) index[k][i] = uint16_t(3 * i + k);
    }
};

template <>
HZ_FN bool load_packed_pixels<float, uint16_t>(const char* pixels, int64_t pixel_stride,
                                               int64_t channel_stride, int n,
                                               Planes<float>& planes) {
    const bool reversed = channel_stride == -2;
    if (pixel_stride != 6 || (channel_stride != 2 && !reversed)) return false;
    static constexpr SplitWords order;
    float* const targets[3] = {reversed ? planes.b : planes.r, planes.g,
                               reversed ? planes.r : planes.b};
    const char* from = pixels - (reversed ? 4 : 0);
    const __m512 full = _mm512_set1_ps(65535), inverse = _mm512_set1_ps(1 / 65535.0f);
    for (int i = 0; i < n; i += 16, from += 96) {
        const int left = n - i < 16 ? 3 * (n - i) : 48;
        const uint64_t there = (uint64_t{1} << left) - 1;
        const __m512i low = _mm512_maskz_loadu_epi16(__mmask32(there), from),
                      high = _mm512_maskz_loadu_epi16(__mmask32(there >> 32), from + 64);
        for (int k = 0; k < 3; ++k) {
            const __m512i words =
                _mm512_permutex2var_epi16(low, _mm512_load_si512(order.index[k]), high);
            const __m512 value =
                _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(words)));
            /* As `quotient` divides. */
            const __m512 near = _mm512_mul_ps(value, inverse);
            _mm512_store_ps(targets[k] + i,
                            _mm512_fmadd_ps(_mm512_fnmadd_ps(full, near, value), inverse, near));
        }
    }
    return true;
}

template <typename V, typename Convert>
HZ_FN bool store_packed(char*, const hz_image&, int, const V* const (&)[3], const Convert&) {
    return false;
}

/* Floats to 16 bits; false, and nothing done, for other layouts. */
HZ_FN bool store_packed(char* pixels, const hz_image& out, int n, const float* const (&planes)[3],
                        const Quantise<uint16_t, float>& convert) {
    const bool reversed = out.channel_stride == -2;
    if (out.pixel_stride != 6 || (out.channel_stride != 2 && !reversed)) return false;
    static constexpr InterleaveWords order;
    const __m512i first = _mm512_load_si512(order.index),
                  second = _mm512_load_si512(order.index + 32);
    const auto levels = [](const float* values) {
        const __m512 scaled = _mm512_add_ps(
            _mm512_mul_ps(clip(Floats(_mm512_load_ps(values))).v, _mm512_set1_ps(65535)),
            _mm512_set1_ps(0.5f));
        return _mm512_cvttps_epi32(scaled);
    };
    const float* const low = planes[reversed ? 2 : 0];
    const float* const high = planes[reversed ? 0 : 2];
    char* target = pixels - (reversed ? 4 : 0);
    int i = 0;
    for (; i + 16 <= n; i += 16, target += 96) {
        const __m512i pairs =
            _mm512_or_si512(levels(low + i), _mm512_slli_epi32(levels(planes[1] + i), 16));
        const __m512i last = levels(high + i);
        _mm512_storeu_si512(target, _mm512_permutex2var_epi16(pairs, first, last));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(target + 64),
                            _mm512_castsi512_si256(_mm512_permutex2var_epi16(pairs, second, last)));
    }
    for (; i < n; ++i, target += 6) {
        store<uint16_t>(target, convert(low[i]));
        store<uint16_t>(target + 2, convert(planes[1][i]));
        store<uint16_t>(target + 4, convert(high[i]));
    }
    return true;
}

/* Floats as they are. */
HZ_FN bool store_packed(char* pixels, const hz_image& out, int n, const float* const (&planes)[3],
                        const Quantise<float, float>&) {
    const bool reversed = out.channel_stride == -4;
    if (out.pixel_stride != 12 || (out.channel_stride != 4 && !reversed)) return false;
    static constexpr InterleaveFloats order;
    char* target = pixels - (reversed ? 8 : 0);
    for (int i = 0; i < n; i += 16, target += 192) {
        const __m512 low = _mm512_load_ps(planes[reversed ? 2 : 0] + i),
                     middle = _mm512_load_ps(planes[1] + i),
                     high = _mm512_load_ps(planes[reversed ? 0 : 2] + i);
        const int left = 3 * (n - i);
        for (int k = 0; k < 3; ++k) {
            const int lanes = left - 16 * k < 0 ? 0 : left - 16 * k < 16 ? left - 16 * k : 16;
            _mm512_mask_storeu_ps(target + 64 * k, __mmask16((1u << lanes) - 1),
                                  join_three(order.join[k], low, middle, high));
        }
    }
    return true;
}

}  // namespace HZ_NAMESPACE
