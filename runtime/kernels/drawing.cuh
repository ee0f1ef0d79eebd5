/* Arguments and statistics to a program ready to be drawn, on the device, in one block.

   All of it is computed in double but the curve. What the constants cost is latency, not
   arithmetic, so that steps are prepared by a thread each where none waits for another's
   statistics. */
#pragma once

#include "curve.cuh"
#include "hz_accuracy.h"

namespace hz_gpu {

using hz::kLineError;

/* A switch, because a table in memory would be one on the stack. */
__device__ __forceinline__ int scope_of(int operation) {
    constexpr int scopes[] = HZ_OP_SCOPES;
    int scope = 0;
#pragma unroll
    for (int code = 0; code < HZ_OP_COUNT; ++code) scope = operation == code ? scopes[code] : scope;
    return scope;
}

__device__ __forceinline__ int statistics_of(int operation) {
    constexpr int kinds[] = HZ_OP_STATISTICS;
    int kind = 0;
#pragma unroll
    for (int code = 0; code < HZ_OP_COUNT; ++code) kind = operation == code ? kinds[code] : kind;
    return kind;
}

struct Range {
    double minimum, identity, maximum;
};

__device__ __forceinline__ Range range_of(int operation) {
    constexpr double minima[] = HZ_OP_MINIMA, identities[] = HZ_OP_IDENTITIES,
                     maxima[] = HZ_OP_MAXIMA;
    Range range = {};
#pragma unroll
    for (int code = 0; code < HZ_OP_COUNT; ++code)
        if (operation == code) range = {minima[code], identities[code], maxima[code]};
    return range;
}

/* A predicted number as it is drawn. */
__device__ __forceinline__ double blended(const PrepareParameters& p, int number,
                                          const Range& range) {
    return range.identity + p.strength * (p.arguments[number] - range.identity);
}

__device__ __forceinline__ double within(double value, const Range& range) {
    return hz::smaller(hz::larger(value, range.minimum), range.maximum);
}

/* Whether all predicted numbers are finite; asked by the whole block. */
__device__ __forceinline__ bool are_finite(const PrepareParameters& p) {
    const int count = p.count + (p.stages ? p.stages * HZ_CURVE_NUMBERS - 1 : 0);
    bool finite = true;
    for (int i = int(threadIdx.x); p.arguments && i < count; i += int(blockDim.x))
        finite &= fabsf(p.arguments[i]) <= 3.4028235e38f;
    return __syncthreads_and(finite);
}

/* The curves as drawn into the report, and their tables, with the whole block; returns whether
   they change nothing. */
__device__ __forceinline__ bool take_curves(const PrepareParameters& p, bool drawn,
                                            Report& report) {
    if (!p.stages) return true;
    const Range range = range_of(HZ_OP_PIECEWISE_CURVE);
    Drawing& drawing = p.workspace->drawing;
    const int index = int(threadIdx.x), threads = int(blockDim.x);
    bool nothing = true;
    for (int i = index; i < p.stages * HZ_CURVE_NUMBERS; i += threads) {
        double slope = report.curves.slopes[i];
        if (p.arguments) slope = blended(p, p.curve + i, range);
        slope = within(drawn ? slope : range.identity, range);
        report.curves.slopes[i] = float(slope);
        nothing &= float(slope) == float(range.identity);
    }
    __syncthreads();
    if (index < 3 * p.stages)
        hz::prepare_curve(report.curves.slopes + index * HZ_CURVE_KNOTS,
                          drawing.exact_curve_table + 1 + index * 2 * HZ_CURVE_KNOTS);
    if (index == 0) {
        drawing.exact_curve_table[0] = p.stages;
        report.curves.stages = p.stages;
    }
    nothing = __syncthreads_and(nothing);
    for (int i = index; i < 1 + p.stages * 2 * HZ_CURVE_NUMBERS; i += threads)
        drawing.curve_table[i] = float(drawing.exact_curve_table[i]);
    return nothing;
}

/* Write operations and arguments as drawn into the report, with the whole block; returns whether
   they are identities alone. */
__device__ __forceinline__ bool take_arguments(const PrepareParameters& p, Report& report) {
    constexpr u32 visible = kSeenForeground | kSeenThumbnail;
    /* Read before the barrier within `are_finite`: one thread writes `seen` after it. */
    const bool hidden = p.arguments && p.watched && (report.seen & visible) != visible;
    const bool finite = are_finite(p);
    const bool drawn = finite && !hidden;
    bool nothing = take_curves(p, drawn, report);
    const int index = int(threadIdx.x);
    if (index < p.count) {
        ReportStep& step = report.steps[index];
        const int operation = p.operations[index];
        const Range range = range_of(operation);
        const int number =
            index + (p.stages && index > p.curve ? p.stages * HZ_CURVE_NUMBERS - 1 : 0);
        step.operation = operation;
        if (operation == HZ_OP_PIECEWISE_CURVE) {
            step.argument = 0;
        } else {
            if (p.arguments) step.argument = blended(p, number, range);
            step.argument = within(drawn ? step.argument : range.identity, range);
            nothing &= step.argument == range.identity;
        }
        if (!p.statistics_given) step.statistics[0] = step.statistics[1] = step.statistics[2] = 0;
    }
    if (index == 0) {
        report.count = p.count;
        report.seen &= ~kSeenNotFinite;
        if (!finite) report.seen |= kSeenNotFinite;
    }
    return __syncthreads_and(nothing);
}

/* Apart, because the powers in double take all registers there are. */
__device__ __noinline__ void apply(const hz::Step<double>& step, double (&value)[3]) {
    hz::apply_step(step, value[0], value[1], value[2]);
}

/* Long and rarely run: one copy for all kernels. */
__device__ __noinline__ void prepare(const ReportStep& step, const Drawing& drawing,
                                     hz::Step<double>& prepared) {
    hz::prepare_step(step.operation, step.argument, step.statistics, prepared);
    if (step.operation == HZ_OP_PIECEWISE_CURVE) prepared.table = drawing.exact_curve_table;
}

__device__ __forceinline__ void to_float(const hz::Step<double>& step, const Drawing& drawing,
                                         hz::Step<float>& target) {
    target.operation = step.operation;
    target.table = step.table ? drawing.curve_table : nullptr;
    for (int i = 0; i < HZ_CONSTANTS; ++i) target.constants[i] = float(step.constants[i]);
}

__device__ __noinline__ bool float_suffices(const hz::Step<double>* steps, int first, int end,
                                            bool bytes, double error_before) {
    /* Powers err by 6e-7 on a GPU. With 8 bits, an error of 1e-3 at black and white is a quarter
       of a level, and between at most 1e-3 of the values round the other way; other pictures stay
       in float for arguments up to the synthesis ranges. */
    const hz::ErrorBudget budget = {6e-7, bytes ? 1e-3 : 7e-4, 4e-6};
    return hz::float_suffices(steps, first, end, budget, error_before);
}

__device__ __forceinline__ void store_statistics(ReportStep& step, double r, double g, double b) {
    const bool by_channel = statistics_of(step.operation) == HZ_STATISTICS_CHANNEL_MEANS;
    step.statistics[0] = by_channel ? r : (r + g + b) / 3;
    if (!by_channel) return;
    step.statistics[1] = g;
    step.statistics[2] = b;
}

/* Operations that are clip(gain v + offset) for one channel; others make no Line. */
__device__ __forceinline__ bool is_affine(const hz::Step<double>& step, int channel, double& gain,
                                          double& offset) {
    offset = 0;
    switch (step.operation) {
        case HZ_OP_TEMPERATURE:
        case HZ_OP_TINT:
            gain = step.constants[channel];
            return true;
        case HZ_OP_BRIGHTNESS:
            gain = step.constants[0];
            return true;
        case HZ_OP_CONTRAST:
            gain = 1 + step.constants[0];
            offset = -step.constants[1] * step.constants[0];
            return true;
        default:
            return false;
    }
}

/* Steps of a channel that are clipped lines, one after the other, are one. Rising or falling: the
   ends are where the steps take 0 and 1. */
__device__ __forceinline__ bool make_line(const hz::Step<double>* steps, int count, int channel,
                                          Line& line) {
    double slope = 1.0 / 255, offset = 0, low = 0, high = 1;
    for (int i = 0; i < count; ++i) {
        double gain, moved;
        if (!is_affine(steps[i], channel, gain, moved)) return false;
        slope *= gain;
        offset = offset * gain + moved;
        const double a = hz::clip(low * gain + moved), b = hz::clip(high * gain + moved);
        low = hz::smaller(a, b);
        high = hz::larger(a, b);
    }
    const double scale = high - low, inverse = scale > 1e-6 ? 1 / scale : 0;
    line = {float(slope * inverse), float((offset - low) * inverse), float(scale), float(low)};
    return scale > 1e-6;
}

__device__ __forceinline__ float on_line(const Line& line, float value) {
    return line.low + line.scale * hz::clip(line.slope * value + line.offset);
}

/* What the block computes, in shared memory until it is stored. */
struct Preparing {
    Report report;
    hz::Step<double> steps[HZ_MAX_STEPS];
    hz::Step<float> float_steps[HZ_MAX_STEPS];
    double scratch[kPrepareThreads / kLanes];
    Line lines[3];
    bool lined[3];
    int nothing, in_float, in_float_with_lines;
    u8 levels[kCells];
};

/* The steps before the first that mixes the channels, for the values 0..255: threads below 256 get
   f(v) of the three channels. Takes statistics from the histogram on the way if asked to. */
__device__ __forceinline__ int walk_prefix(const PrepareParameters& p, bool from_histogram,
                                           Preparing& preparing, double (&value)[3]) {
    const int index = int(threadIdx.x);
    const bool mine = index < 256;
    for (int c = 0; c < 3; ++c) value[c] = double(index) / 255;
    int i = 0;
    for (; i < p.count; ++i) {
        const int operation = p.operations[i];
        if (from_histogram && statistics_of(operation) != HZ_STATISTICS_NONE) {
            double means[3];
            for (int c = 0; c < 3; ++c) {
                const double count = mine ? double(p.workspace->counts[c][index]) : 0;
                means[c] =
                    sum_of_block(count * (mine ? value[c] : 0), preparing.scratch) / p.pixels;
            }
            if (index == 0)
                store_statistics(preparing.report.steps[i], means[0], means[1], means[2]);
        }
        if (scope_of(operation) == HZ_SCOPE_PIXEL) break;
        if (index == 0)
            prepare(preparing.report.steps[i], p.workspace->drawing, preparing.steps[i]);
        __syncthreads();
        if (mine) apply(preparing.steps[i], value);
    }
    __syncthreads();
    return i;
}

/* Everything else that a program of 8-bit pictures needs, given the prefix's values. */
__device__ __forceinline__ void finish_bytes(const PrepareParameters& p, int middle,
                                             Preparing& preparing, const double (&value)[3]) {
    const int index = int(threadIdx.x);
    Drawing& target = p.workspace->drawing;
    int suffix = p.count;
    while (suffix > middle && scope_of(p.operations[suffix - 1]) == HZ_SCOPE_VALUE) --suffix;
    if (index < 3)
        preparing.lined[index] = make_line(preparing.steps, middle, index, preparing.lines[index]);
    /* Other warps meanwhile. */
    if (index == 32) preparing.in_float = float_suffices(preparing.steps, middle, p.count, true, 0);
    if (index == 64)
        preparing.in_float_with_lines =
            float_suffices(preparing.steps, middle, p.count, true, kLineError);
    __syncthreads();
    bool fits = preparing.in_float_with_lines;
    for (int c = 0; c < 3; ++c) {
        fits = fits && preparing.lined[c];
        if (index >= 256) continue;
        fits = fits && fabs(on_line(preparing.lines[c], float(index)) - value[c]) <= kLineError;
        target.prefix[c][index] = float(value[c]);
        target.exact_prefix[c][index] = value[c];
        target.levels[c][index] = stored_value<u8>(value[c]);
    }
    fits = __syncthreads_and(fits);
    make_cells(preparing.float_steps, suffix, p.count, preparing.levels, target.cells);
    if (index < 3) target.lines[index] = preparing.lines[index];
    if (index == 0) {
        target.middle = middle;
        target.suffix = suffix;
        target.in_lines = fits;
        target.in_float = preparing.in_float;
        preparing.report.in_double = !preparing.in_float && middle < p.count;
    }
}

__device__ __forceinline__ void prepare_drawing(const PrepareParameters& p, Preparing& preparing) {
    const int index = int(threadIdx.x);
    constexpr int words = sizeof(Report) / sizeof(u32);
    u32* const kept = reinterpret_cast<u32*>(&p.workspace->report);
    u32* const report = reinterpret_cast<u32*>(&preparing.report);
    for (int i = index; i < words; i += kPrepareThreads) report[i] = kept[i];
    __syncthreads();
    const bool nothing =
        p.begins ? take_arguments(p, preparing.report) : p.workspace->drawing.nothing;
    if (index == 0) {
        preparing.nothing = nothing;
        preparing.report.in_double = 0;
    }
    __syncthreads();
    if (!preparing.nothing) {
        double value[3];
        int middle = 0;
        if (p.bytes) middle = walk_prefix(p, p.begins && p.from_histogram, preparing, value);
        if (p.finishes) {
            if (index < p.count && index >= middle)
                prepare(preparing.report.steps[index], p.workspace->drawing,
                        preparing.steps[index]);
            __syncthreads();
            if (index < p.count) {
                to_float(preparing.steps[index], p.workspace->drawing,
                         preparing.float_steps[index]);
                p.workspace->drawing.steps[index] = preparing.float_steps[index];
                p.workspace->drawing.exact_steps[index] = preparing.steps[index];
            }
            __syncthreads();
            if (p.bytes) {
                finish_bytes(p, middle, preparing, value);
            } else if (index == 0) {
                const bool in_float = float_suffices(preparing.steps, 0, p.count, false, 0);
                p.workspace->drawing.in_float = in_float;
                preparing.report.in_double = !in_float;
            }
        }
    }
    if (index == 0) {
        p.workspace->drawing.nothing = preparing.nothing;
        p.workspace->drawing.count = p.count;
    }
    __syncthreads();
    for (int i = index; i < words; i += kPrepareThreads) kept[i] = report[i];
}

}  // namespace hz_gpu
