/* Blocks of pixels as planes of T: what the measuring and the drawing kernels share.

   Included by files that are compiled once for each instruction set. Everything sits in
   HZ_NAMESPACE and nothing of the standard library is instantiated, so that the linker cannot put
   one instruction set's copy of a function in another's place. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"
#include "hz_pixel.h"
#if defined(__AVX512BW__)
#include "cpu/vector_avx512.h"
#endif

namespace HZ_NAMESPACE {

using hz_cpu::ByteDrawing;
using hz_cpu::RenderJob;
using hz_cpu::Steps;

/* Three float planes and the tables beside them stay within a 32 KB first-level cache. */
constexpr int kBlock = 256;

/* Arithmetic runs over whole vectors of the widest kind. In the scalar loop that a compiler adds
   for the rest, products and sums may be fused differently, and a pixel's last bit would depend on
   its place in the block. */
constexpr int kVectorBytes = 64;

template <typename T>
HZ_FN int padded(int n) {
    constexpr int lanes = kVectorBytes / int(sizeof(T));
    return (n + lanes - 1) & -lanes;
}

template <typename T>
HZ_FN void pad(T* values, int n) {
    for (int i = n; i < padded<T>(n); ++i) values[i] = T(0);
}

template <typename T>
struct Planes {
    alignas(64) T r[kBlock];
    alignas(64) T g[kBlock];
    alignas(64) T b[kBlock];

    HZ_FN void pad_from(int n) {
        pad(r, n);
        pad(g, n);
        pad(b, n);
    }
};

template <typename S>
HZ_FN S load(const char* address) {
    S value;
    memcpy(&value, address, sizeof value);
    return value;
}

template <typename S>
HZ_FN void store(char* address, S value) {
    memcpy(address, &value, sizeof value);
}

/* A stride that the compiler knows. */
template <int bytes>
struct Fixed {
    HZ_FN constexpr operator int64_t() const { return bytes; }
};

/* Calls body(pixel stride, channel stride), with constants for RGB, BGR and RGBA. */
template <typename S, typename Body>
HZ_FN void with_layout(int64_t pixel_stride, int64_t channel_stride, const Body& body) {
    constexpr int size = sizeof(S);
    if (pixel_stride == 3 * size && channel_stride == size)
        body(Fixed<3 * size>(), Fixed<size>());
    else if (pixel_stride == 3 * size && channel_stride == -size)
        body(Fixed<3 * size>(), Fixed<-size>());
    else if (pixel_stride == 4 * size && channel_stride == size)
        body(Fixed<4 * size>(), Fixed<size>());
    else
        body(pixel_stride, channel_stride);
}

template <typename S>
struct Full;
template <>
struct Full<uint8_t> {
    static constexpr int value = 255;
};
template <>
struct Full<uint16_t> {
    static constexpr int value = 65535;
};
template <>
struct Full<float> {
    static constexpr int value = 1;
};

/* Integers are divided, not multiplied by a reciprocal, so that full scale is exactly 1. */
template <typename T, typename S>
HZ_FN T unit_value(S stored) {
    return Full<S>::value == 1 ? T(stored) : T(stored) / T(Full<S>::value);
}
#if defined(__FMA__)
/* The quotient by its remainder, faster than a division: equal to it for every stored value. */
template <typename S>
HZ_FN float quotient(S stored) {
    constexpr float full = float(Full<S>::value), inverse = 1 / full;
    const float value = float(stored), near = value * inverse;
    return __builtin_fmaf(__builtin_fmaf(-full, near, value), inverse, near);
}
template <>
HZ_FN float unit_value<float, uint8_t>(uint8_t stored) {
    return quotient(stored);
}
template <>
HZ_FN float unit_value<float, uint16_t>(uint16_t stored) {
    return quotient(stored);
}
#endif

/* Round half up; the clip keeps the conversion defined for masks outside [0,1]. */
template <typename S, typename T>
struct Quantise {
    HZ_FN S operator()(T value) const { return S(int(clip(value) * T(Full<S>::value) + T(0.5))); }
};
template <typename T>
struct Quantise<float, T> {
    HZ_FN float operator()(T value) const { return float(value); }
};

template <typename T, typename S>
void load_pixels(const char* pixels, int64_t pixel_stride, int64_t channel_stride, int n,
                 Planes<T>& planes) {
    with_layout<S>(pixel_stride, channel_stride, [&](auto ps, auto cs) {
        for (int i = 0; i < n; ++i) {
            const char* pixel = pixels + i * int64_t(ps);
            planes.r[i] = unit_value<T>(load<S>(pixel));
            planes.g[i] = unit_value<T>(load<S>(pixel + int64_t(cs)));
            planes.b[i] = unit_value<T>(load<S>(pixel + 2 * int64_t(cs)));
        }
    });
    planes.pad_from(n);
}

/* What one turn of a loop over T takes: one value, of which a compiler makes a vector, or a vector. */
template <typename T>
struct Lanes {
    typedef T Type;
    static constexpr int count = 1;
    HZ_FN static T load(const T* values) { return *values; }
    HZ_FN static void store(T* values, T value) { *values = value; }
};
#if defined(__AVX512BW__)
template <>
struct Lanes<float> {
    typedef Floats Type;
    static constexpr int count = 16;
    HZ_FN static Floats load(const float* values) { return _mm512_load_ps(values); }
    HZ_FN static void store(float* values, Floats value) { _mm512_store_ps(values, value.v); }
};
#endif

/* One operation over a block; the loop vectorises because `apply` has no branch that depends on
   the pixel and calls nothing. */
template <typename T>
struct BlockVisitor {
    const double* constants;
    const T* curve_table;
    Planes<T>& planes;
    int n;
    template <int code>
    void visit() {
        if constexpr (code == HZ_OP_PIECEWISE_CURVE)
            bend(planes.r, planes.g, planes.b);
        else
            apply<code>();
    }

private:
    template <int code>
    void apply() {
        typedef Lanes<T> L;
        typename L::Type local[HZ_CONSTANTS];
        for (int i = 0; i < HZ_CONSTANTS; ++i) local[i] = typename L::Type(constants[i]);
        T* __restrict red = planes.r;
        T* __restrict green = planes.g;
        T* __restrict blue = planes.b;
        const int end = padded<T>(n);
        for (int i = 0; i < end; i += L::count) {
            typename L::Type r = L::load(red + i), g = L::load(green + i), b = L::load(blue + i);
            Operation<code>::apply(local, r, g, b);
            L::store(red + i, r);
            L::store(green + i, g);
            L::store(blue + i, b);
        }
    }
    /* Curve by curve and channel by channel: a curve's table is small enough to stay at hand. */
    void bend(T* red, T* green, T* blue) {
        T* const channels[3] = {red, green, blue};
        const int curves = 3 * int(curve_table[0]), end = padded<T>(n);
        for (int curve = 0; curve < curves; ++curve) {
            const T* __restrict table = curve_table + 1 + curve * 2 * HZ_CURVE_KNOTS;
            T* __restrict values = channels[curve % 3];
            for (int i = 0; i < end; ++i)
                values[i] = Operation<HZ_OP_PIECEWISE_CURVE>::value(table, values[i]);
        }
    }
};

HZ_FN const float* curve_table(const Steps& steps, float) { return steps.curve_table_float; }
HZ_FN const double* curve_table(const Steps& steps, double) { return steps.curve_table; }

/* Steps [first, end) over padded planes. */
template <typename T>
void run_steps(const Steps& steps, int first, int end, int n, Planes<T>& planes) {
    for (int i = first; i < end; ++i) {
        BlockVisitor<T> visitor = {steps.list[i].constants, curve_table(steps, T()), planes, n};
        visit_operation<0>(steps.list[i].operation, visitor);
    }
}

}  // namespace HZ_NAMESPACE
