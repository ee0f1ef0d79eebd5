/* The pixel maths of every registered operation, once, for g++, clang, nvcc and NVRTC.

   Each operation is a specialisation of `Operation<code>` with
     prepare  clamped argument and image statistics -> a few constants, in double
     apply    those constants and one pixel (r, g, b in [0, 1], display-referred sRGB) -> the pixel
   so a new operation is one specialisation; a missing one does not compile. Equations, ranges and
   codes live in runtime/harmonizer/ops.py, from which hz_operations.h is generated. */
#ifndef HZ_PIXEL_H
#define HZ_PIXEL_H

#include "hz_float.h"
#include "hz_operations.h"

#define HZ_CONSTANTS 3

/* Numbers of a cascade of curves, made ready: how many stages, then for each stage, channel and
   knot the curve's value and its slope. */
#define HZ_CURVE_NUMBERS (3 * HZ_CURVE_KNOTS)
#define HZ_CURVE_TABLE (1 + HZ_CURVE_STAGES * 2 * HZ_CURVE_NUMBERS)

namespace HZ_NAMESPACE {

template <typename T>
struct Step {
    int operation;
    T constants[HZ_CONSTANTS];
    const T* table; /* HZ_CURVE_TABLE numbers in place of the constants; null for the others */
};

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
        const T high = larger(larger(r, g), b), low = smaller(smaller(r, g), b);
        const T sum = high + low, lightness = T(0.5) * sum;
        T gain = constants[1];
        if (above_zero(constants[0])) {
            const T q = smaller(sum, T(2) - sum) + T(HZ_EPSILON);
            gain = divide(q, larger(high - low, gain * q) + T(HZ_EPSILON) * q);
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

/* Its `apply` takes the table that `prepare_curves` makes, its numbers not being constants. */
template <>
struct Operation<HZ_OP_PIECEWISE_CURVE> {
    HZ_FN static void prepare(double, const double*, double*) {}
    template <typename T>
    HZ_FN static T value(const T* curve, T v) {
        v = clip(v);
        const int cell = int(v * T(HZ_CURVE_KNOTS));
        const int knot = cell < HZ_CURVE_KNOTS ? cell : HZ_CURVE_KNOTS - 1;
        return clip(curve[2 * knot] + curve[2 * knot + 1] * (v - T(knot) / T(HZ_CURVE_KNOTS)));
    }
    template <typename T>
    HZ_FN static void apply(const T* table, T& r, T& g, T& b) {
        const int stages = int(table[0]);
        const T* curve = table + 1;
        for (int stage = 0; stage < stages; ++stage, curve += 2 * HZ_CURVE_NUMBERS) {
            r = value(curve, r);
            g = value(curve + 2 * HZ_CURVE_KNOTS, g);
            b = value(curve + 4 * HZ_CURVE_KNOTS, b);
        }
    }
};

/* The table of one curve of one channel, 2*HZ_CURVE_KNOTS numbers, from its slopes. The published
   formula divides by the slopes' sum; here their mean is first moved away from 0. */
HZ_FN void prepare_curve(const float* slopes, double* curve) {
    const double minima[] = HZ_OP_MINIMA, maxima[] = HZ_OP_MAXIMA;
    const double low = minima[HZ_OP_PIECEWISE_CURVE], high = maxima[HZ_OP_PIECEWISE_CURVE];
    double sum = 0;
    for (int i = 0; i < HZ_CURVE_KNOTS; ++i) sum += smaller(larger(double(slopes[i]), low), high);
    const double mean = sum / HZ_CURVE_KNOTS, sign = mean >= 0 ? 1 : -1;
    const double moved = sign * larger(HZ_CURVE_LEAST_MEAN - sign * mean, 0.0);
    double value = 0;
    for (int i = 0; i < HZ_CURVE_KNOTS; ++i) {
        const double slope =
            (smaller(larger(double(slopes[i]), low), high) + moved) / (mean + moved);
        curve[2 * i] = value;
        curve[2 * i + 1] = slope;
        value += slope / HZ_CURVE_KNOTS;
    }
}

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
    step.table = nullptr;
    for (int i = 0; i < HZ_CONSTANTS; ++i) step.constants[i] = T(constants[i]);
}

template <typename T>
HZ_FN const T* constants_of(const Step<T>& step) {
    return step.operation == HZ_OP_PIECEWISE_CURVE ? step.table : step.constants;
}

template <typename T>
HZ_FN void apply_step(const Step<T>& step, T& r, T& g, T& b) {
    ApplyVisitor<T> visitor = {constants_of(step), r, g, b};
    visit_operation<0>(step.operation, visitor);
}

}  // namespace HZ_NAMESPACE

#endif
