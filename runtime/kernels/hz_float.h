/* Clipping, division and powers in float and double, for g++, clang, nvcc and NVRTC.

   HZ_NAMESPACE lets a build compile these files several times with different instruction sets
   without one copy's functions standing in for another's at link time. */
#ifndef HZ_FLOAT_H
#define HZ_FLOAT_H

#ifndef HZ_NAMESPACE
#define HZ_NAMESPACE hz
#endif

#if defined(__CUDACC__)
#define HZ_FN __host__ __device__ __forceinline__
#else
#include <math.h>
#define HZ_FN inline __attribute__((always_inline))
#endif

namespace HZ_NAMESPACE {

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

template <typename T>
HZ_FN T larger(T a, T b) {
    return a > b ? a : b;
}

template <typename T>
HZ_FN T smaller(T a, T b) {
    return a < b ? a : b;
}

template <typename T>
HZ_FN T divide(T a, T b) {
    return a / b;
}

/* Whether a constant is above 0: for vectors, whose lanes have the same constants. */
template <typename T>
HZ_FN bool above_zero(T constant) {
    return constant > T(0);
}

/* A GPU has instructions of its own for these in float: clipping costs nothing there, the division
   is good to 2 units in the last place, and the power to 6e-7 for exponents up to 2 (PTX ISA:
   rcp.approx errs by 1 unit, lg2.approx by 2^-22 absolutely near 1 and relatively elsewhere,
   ex2.approx by 2^-22; all take denormals for 0, which no operation comes near). Exact
   where base is 1 or exponent 0, as above. HZ_GPU_FLOAT is also set where tests emulate them. */
#if defined(__CUDA_ARCH__)
#define HZ_GPU_FLOAT
__device__ __forceinline__ float lg2_approx(float v) {
    float result;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
    return result;
}
__device__ __forceinline__ float rcp_approx(float v) {
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
    return result;
}
__device__ __forceinline__ float ex2_approx(float v) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
    return result;
}
#endif
#if defined(HZ_GPU_FLOAT)
HZ_FN float clip(float v) { return __saturatef(v); }
HZ_FN float larger(float a, float b) { return fmaxf(a, b); }
HZ_FN float smaller(float a, float b) { return fminf(a, b); }
HZ_FN float divide(float a, float b) { return a * rcp_approx(b); }
/* Without the calls to a slow path that a double division is made of: the reciprocal in float,
   twice refined, and the quotient once. Right to the last place but one for 1e-30 < |b| < 1e30. */
HZ_FN double divide(double a, double b) {
    double inverse = double(rcp_approx(float(b)));
    inverse = fma(fma(-b, inverse, 1.0), inverse, inverse);
    inverse = fma(fma(-b, inverse, 1.0), inverse, inverse);
    const double quotient = a * inverse;
    return fma(fma(-b, quotient, a), inverse, quotient);
}
#endif

/* sum of 2/ln(2) * s2^j / (2j+1) from j = k on; times s it is log2((1+s)/(1-s)). */
template <int k, typename T>
HZ_FN T atanh_series(T s2) {
    const T coefficient = T(2.8853900817779268 / (2 * k + 1));
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
    constexpr double exact = inverse_factorial(k);
    const T coefficient = T(exact);
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
    const T two_to_mantissa = T(Bits(1) << F::mantissa);

    const auto shifted = bits_of(base) + (one - F::sqrt_half);
    /* Or-ing an integer into the mantissa of 2^mantissa converts it: AVX2 has no other way. */
    const T whole =
        real_of((shifted >> F::mantissa) | (Bits(F::bias + F::mantissa) << F::mantissa)) -
        (two_to_mantissa + T(F::bias));
    const T m = real_of((shifted & ((Bits(1) << F::mantissa) - 1)) + F::sqrt_half);
    const T s = divide(m - T(1), m + T(1));
    const T log2_base = whole + s * atanh_series<0>(s * s);

    T z = exponent * log2_base;
    z = smaller(larger(z, T(1 - F::bias)), T(F::bias));
    const T rounder = T(1.5) * two_to_mantissa; /* adding it rounds to an integer in the low bits */
    const T rounded = z + rounder;
    const T f = (z - (rounded - rounder)) * T(0.69314718055994531);
    return exp_series<0>(f) * real_of((bits_of(rounded) + Bits(F::bias)) << F::mantissa);
}

#if defined(HZ_GPU_FLOAT)
HZ_FN float power(float base, float exponent) { return ex2_approx(exponent * lg2_approx(base)); }
#endif

}  // namespace HZ_NAMESPACE

#endif
