/* The pixel maths of every registered operation, once, for g++, clang, nvcc and NVRTC.

   Each operation is a specialisation of `Operation<code>` with
     prepare  clamped argument and image statistics -> a few constants, in double
     apply    those constants and one pixel (r, g, b in [0, 1], display-referred sRGB) -> the pixel
   so a new operation is one specialisation; a missing one does not compile. Equations, ranges and
   codes live in runtime/harmonizer/ops.py, from which hz_operations.h is generated.

   HZ_NAMESPACE lets a build compile this file several times with different instruction sets
   without one copy's functions standing in for another's at link time. */
#ifndef HZ_PIXEL_H
#define HZ_PIXEL_H

#include "hz_operations.h"

#ifndef HZ_NAMESPACE
#define HZ_NAMESPACE hz
#endif

#if defined(__CUDACC__)
#define HZ_FN __host__ __device__ __forceinline__
#else
#include <math.h>
#define HZ_FN inline __attribute__((always_inline))
#endif

#define HZ_CONSTANTS 3

namespace HZ_NAMESPACE {

template <typename T>
struct Step {
    int operation;
    T constants[HZ_CONSTANTS];
};

template <typename T>
struct Program {
    int count;
    Step<T> steps[HZ_MAX_STEPS];
};

/* What `power` needs to know of the two floating-point formats. The series lengths leave a
   truncation error below one unit in the last place. */
template <typename T>
struct Format;

template <>
struct Format<float> {
    typedef unsigned int Bits;
    static constexpr int mantissa = 23, bias = 127, log_terms = 5, exp_terms = 7;
    static constexpr Bits sqrt_half = 0x3f3504f3u;
};

template <>
struct Format<double> {
    typedef unsigned long long Bits;
    static constexpr int mantissa = 52, bias = 1023, log_terms = 11, exp_terms = 13;
    static constexpr Bits sqrt_half = 0x3fe6a09e667f3bcdull;
};

#if defined(__CUDA_ARCH__)
__device__ __forceinline__ unsigned int bits_of(float v) { return __float_as_uint(v); }
__device__ __forceinline__ unsigned long long bits_of(double v) {
    return (unsigned long long)__double_as_longlong(v);
}
__device__ __forceinline__ float real_of(unsigned int v) { return __uint_as_float(v); }
__device__ __forceinline__ double real_of(unsigned long long v) {
    return __longlong_as_double((long long)v);
}
#else
HZ_FN unsigned int bits_of(float v) {
    unsigned int bits;
    __builtin_memcpy(&bits, &v, sizeof bits);
    return bits;
}
HZ_FN unsigned long long bits_of(double v) {
    unsigned long long bits;
    __builtin_memcpy(&bits, &v, sizeof bits);
    return bits;
}
HZ_FN float real_of(unsigned int bits) {
    float v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}
HZ_FN double real_of(unsigned long long bits) {
    double v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}
#endif

/* NaN becomes 0, so that a table index or an integer made of the result is always in range. */
template <typename T>
HZ_FN T clip(T v) {
    v = v > T(0) ? v : T(0);
    return v < T(1) ? v : T(1);
}

/* sum of 2/ln(2) * s2^j / (2j+1) from j = k on; times s it is log2((1+s)/(1-s)). */
template <int k, typename T>
HZ_FN T atanh_series(T s2) {
    constexpr T coefficient = T(2.8853900817779268 / (2 * k + 1));
    if constexpr (k + 1 < Format<T>::log_terms)
        return atanh_series<k + 1>(s2) * s2 + coefficient;
    else
        return coefficient;
}

HZ_FN constexpr double inverse_factorial(int k) {
    return k < 2 ? 1.0 : inverse_factorial(k - 1) / k;
}

/* sum of f^(j-k) / j! from j = k on; from 0 it is exp(f). */
template <int k, typename T>
HZ_FN T exp_series(T f) {
    constexpr T coefficient = T(inverse_factorial(k));
    if constexpr (k < Format<T>::exp_terms)
        return exp_series<k + 1>(f) * f + coefficient;
    else
        return coefficient;
}

/* base^exponent for a positive normal base, as 2^(exponent * log2(base)).

   libm's pow does not vectorise; this is branch-free and uses only operations that SSE2, AVX2,
   AVX-512 and NEON have for both formats. log2 by the series of atanh on a mantissa within
   [sqrt(1/2), sqrt(2)), 2^f by its Taylor series on |f| <= 1/2. Error relative to the larger of
   the result and 0.1: up to 3e-7 in float, 1e-15 in double. Exact where base is 1 or exponent 0. */
template <typename T>
HZ_FN T power(T base, T exponent) {
    typedef Format<T> F;
    typedef typename F::Bits Bits;
    constexpr Bits one = Bits(F::bias) << F::mantissa;
    constexpr T two_to_mantissa = T(Bits(1) << F::mantissa);

    const Bits shifted = bits_of(base) + (one - F::sqrt_half);
    /* Or-ing an integer into the mantissa of 2^mantissa converts it: AVX2 has no other way. */
    const T whole = real_of((shifted >> F::mantissa) | (Bits(F::bias + F::mantissa) << F::mantissa)) -
                    (two_to_mantissa + T(F::bias));
    const T m = real_of((shifted & ((Bits(1) << F::mantissa) - 1)) + F::sqrt_half);
    const T s = (m - T(1)) / (m + T(1));
    const T log2_base = whole + s * atanh_series<0>(s * s);

    T z = exponent * log2_base;
    z = z > T(1 - F::bias) ? z : T(1 - F::bias);
    z = z < T(F::bias) ? z : T(F::bias);
    const T rounder = T(1.5) * two_to_mantissa; /* adding it rounds to an integer in the low bits */
    const T rounded = z + rounder;
    const T f = (z - (rounded - rounder)) * T(0.69314718055994531);
    return exp_series<0>(f) * real_of((bits_of(rounded) + Bits(F::bias)) << F::mantissa);
}

template <int code>
struct Operation;

template <>
struct Operation<HZ_OP_TEMPERATURE> {
    HZ_FN static void prepare(double x, const double* means, double* gains) {
        const double size = x < 0 ? -x : x;
        const double moved[3] = {means[0] + (x < 0 ? size : 0), means[1] + size / 2,
                                 means[2] + (x > 0 ? size : 0)};
        const double grey = (means[0] + means[1] + means[2]) / 3;
        const double moved_grey = (moved[0] + moved[1] + moved[2]) / 3;
        for (int c = 0; c < 3; ++c)
            gains[c] = moved_grey / (moved[c] + HZ_EPSILON) + 1 - grey / (means[c] + HZ_EPSILON);
    }
    template <typename T>
    HZ_FN static void apply(const T* gains, T& r, T& g, T& b) {
        r = clip(gains[0] * r);
        g = clip(gains[1] * g);
        b = clip(gains[2] * b);
    }
};

template <>
struct Operation<HZ_OP_BRIGHTNESS> {
    HZ_FN static void prepare(double x, const double*, double* gain) {
        gain[0] = x >= 0 ? 1 / (1 - x + HZ_EPSILON) : 1 + x;
    }
    template <typename T>
    HZ_FN static void apply(const T* gain, T& r, T& g, T& b) {
        r = clip(gain[0] * r);
        g = clip(gain[0] * g);
        b = clip(gain[0] * b);
    }
};

/* clip(I + (I - t) c). floor(255 x) jumps: it is taken of the argument in double, as written. */
template <>
struct Operation<HZ_OP_CONTRAST> {
    HZ_FN static void prepare(double x, const double* mean, double* constants) {
        constants[0] = x > 0 ? 255 / (256 - floor(255 * x)) - 1 : x;
        constants[1] = mean[0];
    }
    template <typename T>
    HZ_FN static T value(const T* constants, T v) {
        return clip(v + (v - constants[1]) * constants[0]);
    }
    template <typename T>
    HZ_FN static void apply(const T* constants, T& r, T& g, T& b) {
        r = value(constants, r);
        g = value(constants, g);
        b = value(constants, b);
    }
};

/* Both signs are l + (I - l) * gain. Above 0 the gain 1/(max(v/q, 1-x) + e) is written with one
   division; the denominators' q is positive. */
template <>
struct Operation<HZ_OP_SATURATION> {
    HZ_FN static void prepare(double x, const double*, double* constants) {
        constants[0] = x >= 0;
        constants[1] = x >= 0 ? 1 - x : 1 + x;
    }
    template <typename T>
    HZ_FN static void apply(const T* constants, T& r, T& g, T& b) {
        T high = r > g ? r : g, low = r < g ? r : g;
        high = high > b ? high : b;
        low = low < b ? low : b;
        const T sum = high + low, lightness = T(0.5) * sum;
        T gain = constants[1];
        if (constants[0] > T(0)) {
            const T q = (sum < T(1) ? sum : T(2) - sum) + T(HZ_EPSILON);
            const T spread = high - low, floor_ = gain * q;
            gain = q / ((spread > floor_ ? spread : floor_) + T(HZ_EPSILON) * q);
        }
        r = clip(lightness + (r - lightness) * gain);
        g = clip(lightness + (g - lightness) * gain);
        b = clip(lightness + (b - lightness) * gain);
    }
};

template <>
struct Operation<HZ_OP_HIGHLIGHT> {
    HZ_FN static void prepare(double x, const double*, double* exponent) { exponent[0] = x + 1; }
    template <typename T>
    HZ_FN static T value(const T* exponent, T v) {
        return clip(T(1) - clip(power((T(1) - v) + T(HZ_POWER_EPSILON), exponent[0])));
    }
    template <typename T>
    HZ_FN static void apply(const T* exponent, T& r, T& g, T& b) {
        r = value(exponent, r);
        g = value(exponent, g);
        b = value(exponent, b);
    }
};

template <>
struct Operation<HZ_OP_SHADOW> {
    HZ_FN static void prepare(double x, const double*, double* exponent) { exponent[0] = 1 - x; }
    template <typename T>
    HZ_FN static T value(const T* exponent, T v) {
        return clip(power(v + T(HZ_POWER_EPSILON), exponent[0]));
    }
    template <typename T>
    HZ_FN static void apply(const T* exponent, T& r, T& g, T& b) {
        r = value(exponent, r);
        g = value(exponent, g);
        b = value(exponent, b);
    }
};

template <>
struct Operation<HZ_OP_TINT> {
    HZ_FN static void prepare(double x, const double*, double* gains) {
        gains[0] = gains[2] = 1 + x / 4;
        gains[1] = 1 - x / 2;
    }
    template <typename T>
    HZ_FN static void apply(const T* gains, T& r, T& g, T& b) {
        Operation<HZ_OP_TEMPERATURE>::apply(gains, r, g, b);
    }
};

template <>
struct Operation<HZ_OP_HUE> {
    HZ_FN static void prepare(double x, const double*, double* constants) {
        const double angle = 3.14159265358979323846 * x / 3;
        constants[0] = cos(angle);
        constants[1] = (1 - cos(angle)) / 3;
        constants[2] = sin(angle) / sqrt(3.0);
    }
    template <typename T>
    HZ_FN static void apply(const T* constants, T& r, T& g, T& b) {
        const T grey = constants[1] * (r + g + b);
        const T red = r, green = g, blue = b;
        r = clip(red * constants[0] + grey + constants[2] * (blue - green));
        g = clip(green * constants[0] + grey + constants[2] * (red - blue));
        b = clip(blue * constants[0] + grey + constants[2] * (green - red));
    }
};

/* Calls `visitor.visit<code>()` for a code known only at run time. */
template <int code, typename Visitor>
HZ_FN void visit_operation(int wanted, Visitor& visitor) {
    if constexpr (code < HZ_OP_COUNT) {
        if (wanted == code)
            visitor.template visit<code>();
        else
            visit_operation<code + 1>(wanted, visitor);
    }
}

struct PrepareVisitor {
    double argument;
    const double* statistics;
    double* constants;
    template <int code>
    HZ_FN void visit() {
        Operation<code>::prepare(argument, statistics, constants);
    }
};

template <typename T>
struct ApplyVisitor {
    const T* constants;
    T &r, &g, &b;
    template <int code>
    HZ_FN void visit() {
        Operation<code>::apply(constants, r, g, b);
    }
};

/* A program of identities alone draws nothing. Beside other steps an identity is drawn like any
   argument: the published formulas divide by 1 + 1e-6 there, and a steep highlight shows it. */
HZ_FN bool is_identity(int operation, double argument) {
    const double identities[] = HZ_OP_IDENTITIES;
    return argument == identities[operation];
}

/* Constants of one step in `T`, computed in double: a float argument would miss contrast's jumps. */
template <typename T>
HZ_FN void prepare_step(int operation, double argument, const double* statistics, Step<T>& step) {
    const double minima[] = HZ_OP_MINIMA, maxima[] = HZ_OP_MAXIMA;
    const double above = argument > minima[operation] ? argument : minima[operation];
    const double clamped = above < maxima[operation] ? above : maxima[operation];
    double constants[HZ_CONSTANTS] = {};
    PrepareVisitor visitor = {clamped, statistics, constants};
    visit_operation<0>(operation, visitor);
    step.operation = operation;
    for (int i = 0; i < HZ_CONSTANTS; ++i) step.constants[i] = T(constants[i]);
}

template <typename T>
HZ_FN void apply_step(const Step<T>& step, T& r, T& g, T& b) {
    ApplyVisitor<T> visitor = {step.constants, r, g, b};
    visit_operation<0>(step.operation, visitor);
}

}  // namespace HZ_NAMESPACE

#endif
