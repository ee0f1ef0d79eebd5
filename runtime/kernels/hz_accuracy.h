/* Whether float suffices to evaluate a program: bounds of its rounding errors, propagated through
   the steps. Read by the CPU renderer and by the kernel that prepares on the device. */
#ifndef HZ_ACCURACY_H
#define HZ_ACCURACY_H

#include "hz_pixel.h"

namespace HZ_NAMESPACE {

constexpr double kFloatRounding = 6e-8; /* half a unit in the last place below 1 */
constexpr double kLineError = 2e-7;     /* what evaluating a line in place of a table may add */

/* How far rounding errors may reach before a program is evaluated in double: at black and white,
   where powers magnify them, and between, where they decide how many 8-bit values round the other
   way (255 times the bound at most, on average a tenth of that). */
struct ErrorBudget {
    double power; /* what a power adds */
    double at_ends, between;
};

/* Bounds of the absolute error that float evaluation has made so far. Near black a float is far
   finer than near white, until an operation that subtracts makes the error absolute. */
struct FloatError {
    double black = 0;
    double white = kFloatRounding;
    double between = kFloatRounding;

    HZ_FN void scale(double gain) {
        black *= gain;
        white = white * gain + kFloatRounding;
        between = between * gain + kFloatRounding;
    }
    /* An operation that subtracts, and may move any value to black or white. */
    HZ_FN void subtract(double gain) {
        scale(gain);
        black = white = larger(larger(black, white), between);
    }
};

HZ_FN double raised(double error, double exponent) {
    return exponent < 1 ? pow(error, exponent) : error * exponent;
}

template <typename AnyStep>
HZ_FN void propagate(const AnyStep& step, double power_error, FloatError& error) {
    const double* constants = step.constants;
    const double exponent = constants[0], slope = larger(1.0, exponent);
    switch (step.operation) {
        case HZ_OP_BRIGHTNESS:
            error.scale(larger(1.0, constants[0]));
            break;
        case HZ_OP_CONTRAST:
            error.subtract(larger(1.0, 1 + constants[0]));
            break;
        case HZ_OP_SATURATION:
            error.subtract(constants[0] > 0 ? 1 / (constants[1] + HZ_EPSILON) : 1.0);
            break;
        case HZ_OP_HUE:
            error.subtract(2);
            break;
        case HZ_OP_PIECEWISE_CURVE: { /* falling pieces may bring any value to black */
            double gain = 1;
            for (int stage = 0; stage < int(step.table[0]); ++stage) {
                double steepest = 1;
                for (int i = 0; i < HZ_CURVE_NUMBERS; ++i)
                    steepest = larger(
                        steepest, fabs(double(step.table[2 + 2 * (stage * HZ_CURVE_NUMBERS + i)])));
                gain *= steepest;
            }
            error.subtract(gain);
            break;
        }
        case HZ_OP_SHADOW:
            error.black = raised(error.black, exponent);
            error.white = raised(error.white, slope) + power_error;
            error.between = raised(error.between, slope) + power_error;
            break;
        case HZ_OP_HIGHLIGHT:
            error.white = raised(error.white, exponent);
            error.black = raised(error.black, slope) + power_error;
            error.between = raised(error.between, slope) + power_error;
            break;
        default: { /* gains by channel: the largest counts */
            const double green_blue = larger(fabs(constants[1]), fabs(constants[2]));
            error.scale(larger(1.0, larger(fabs(constants[0]), green_blue)));
        }
    }
}

/* Whether evaluating steps [first, end) in float stays within the budget, given what error the
   values bring along. */
template <typename AnyStep>
HZ_FN bool float_suffices(const AnyStep* steps, int first, int end, const ErrorBudget& budget,
                          double error_before) {
    FloatError error;
    error.black += error_before;
    error.white += error_before;
    error.between += error_before;
    for (int i = first; i < end; ++i) propagate(steps[i], budget.power, error);
    return larger(error.black, error.white) <= budget.at_ends && error.between <= budget.between;
}

/* Whether float evaluation leaves values near black as fine as floats are there: nothing has made
   the error absolute. A mean that others are divided by must be so; that of a dark picture is as
   small as its values. */
template <typename AnyStep>
HZ_FN bool float_is_fine_at_black(const AnyStep* steps, int first, int end) {
    FloatError error;
    for (int i = first; i < end; ++i) propagate(steps[i], kFloatRounding, error);
    return error.black == 0;
}

}  // namespace HZ_NAMESPACE

#endif
