/* The passes over a picture that measuring and drawing are made of. */
#include "cpu/passes.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "api/checks.h"
#include "cpu/kernels.h"
#include "cpu/threads.h"
#include "hz_accuracy.h"

namespace hz_cpu {
namespace {

/* Histogram tables are cleared and merged once a band; a band of rows to draw is small enough to
   share out a picture whose foreground is in one place. */
constexpr int64_t kPixelsToMeasure = 1 << 17;
constexpr int64_t kPixelsToDraw = 1 << 14;
constexpr int kMostSumBands = 256;
constexpr int kMostBands = 1 << 20;

constexpr int kStatistics[] = HZ_OP_STATISTICS;

struct Means {
    double channels[3];
};

struct Histogram {
    bool counted = false;
    uint64_t counts[3][256] = {};
};

void count(const hz_image& image, int threads, Histogram& histogram) {
    const Bands bands =
        make_bands(image.width, image.height, kPixelsToMeasure, kMostBands, threads);
    Mutex lock;
    for_each_band(bands, [&](int, int64_t first, int64_t end) {
        uint64_t counts[3][256] = {};
        kernels().count_values(image, first, end, counts);
        const Guard guard(lock);
        for (int c = 0; c < 3; ++c)
            for (int value = 0; value < 256; ++value)
                histogram.counts[c][value] += counts[c][value];
    });
    histogram.counted = true;
}

/* Tables that rise in a straight line from 0 and are then flat, as gains and their clips make
   them: the mean follows from a sum and a count, which cost a third of a histogram. */
struct Ramps {
    uint8_t limits[3]; /* the last value of the line */
    double slopes[3];
};

bool find_ramps(const double (&table)[3][256], Ramps& ramps) {
    constexpr double kRounding = 1e-14;
    for (int c = 0; c < 3; ++c) {
        const double* values = table[c];
        int limit = 255;
        while (limit > 1 && values[limit - 1] == values[255]) --limit;
        /* The clip may have bent the last piece of the line, though a later gain hides it. */
        --limit;
        ramps.limits[c] = static_cast<uint8_t>(limit);
        ramps.slopes[c] = values[limit] / std::max(limit, 1);
        for (int value = 0; value <= 255; ++value) {
            const double line = value <= limit ? ramps.slopes[c] * value : values[255];
            if (!(std::abs(line - values[value]) <= kRounding)) return false;
        }
    }
    return true;
}

/* The sums of packed pixels; false, and nothing done, for other layouts. */
bool sum_packed(const hz_image& image, const uint8_t (&limits)[3], int threads, Sums& sums) {
    const Bands bands =
        make_bands(image.width, image.height, kPixelsToMeasure, kMostBands, threads);
    Mutex lock;
    bool packed = true;
    for_each_band(bands, [&](int, int64_t first, int64_t end) {
        Sums part = {};
        const bool done = kernels().sum_values(image, limits, first, end, part);
        const Guard guard(lock);
        packed = packed && done;
        for (int c = 0; c < 3; ++c) {
            sums.above[c] += part.above[c];
            sums.upto[c] += part.upto[c];
        }
    });
    return packed;
}

Sums sums_from_counts(const Histogram& histogram, const uint8_t (&limits)[3]) {
    Sums sums = {};
    for (int c = 0; c < 3; ++c)
        for (int value = 0; value < 256; ++value) {
            const uint64_t count = histogram.counts[c][value];
            sums.above[c] += value > limits[c] ? count : 0;
            sums.upto[c] += value > limits[c] ? 0 : count * static_cast<uint64_t>(value);
        }
    return sums;
}

/* Means of an 8-bit picture whose steps keep the channels apart, from exact sums of integers. The
   pixels' layout decides how these are counted and does not show in the result. */
Means means_of_bytes(const hz_image& image, const Steps& steps, int threads, double pixels,
                     Histogram& histogram) {
    double table[3][256];
    tabulate(steps, steps.count, table);
    Ramps ramps = {};
    const bool ramped = find_ramps(table, ramps);
    Sums sums = {};
    Means means = {};
    if (!ramped || !sum_packed(image, ramps.limits, threads, sums)) {
        if (!histogram.counted) count(image, threads, histogram);
        if (ramped) sums = sums_from_counts(histogram, ramps.limits);
    }
    for (int c = 0; c < 3; ++c) {
        double sum = ramps.slopes[c] * static_cast<double>(sums.upto[c]) +
                     table[c][255] * static_cast<double>(sums.above[c]);
        if (!ramped) {
            sum = 0;
            for (int value = 0; value < 256; ++value)
                sum += static_cast<double>(histogram.counts[c][value]) * table[c][value];
        }
        means.channels[c] = sum / pixels;
    }
    return means;
}

/* A sum for each band, added in order, so that the threads do not show in the result. */
Means means_from_sums(const hz_image& image, const Steps& steps, bool in_float, int threads,
                      double pixels) {
    const Bands bands =
        make_bands(image.width, image.height, kPixelsToMeasure, kMostSumBands, threads);
    std::vector<double> sums(static_cast<size_t>(bands.count) * 3);
    for_each_band(bands, [&](int band, int64_t first, int64_t end) {
        double total[3];
        kernels().sum_channels(image, steps, in_float, first, end, total);
        for (int c = 0; c < 3; ++c) sums[static_cast<size_t>(band) * 3 + c] = total[c];
    });
    Means means = {};
    for (size_t i = 0; i < sums.size(); ++i) means.channels[i % 3] += sums[i];
    for (double& mean : means.channels) mean /= pixels;
    return means;
}

}  // namespace

void measure(const hz_image& image, hz_program& program, int threads) {
    const double pixels = static_cast<double>(image.width) * static_cast<double>(image.height);
    const auto histogram = std::make_unique<Histogram>();
    for (int i = 0; i < program.count; ++i) {
        hz_step& step = program.steps[i];
        for (double& statistic : step.statistics) statistic = 0;
        const int statistics = kStatistics[step.operation];
        if (statistics == HZ_STATISTICS_NONE || draws_nothing(program)) continue;
        const Steps before(program, 0, i);
        Means means;
        if (image.type == HZ_U8 && leading_channel_steps(before) == before.count) {
            means = means_of_bytes(image, before, threads, pixels, *histogram);
        } else {
            /* A mean's rounding errors go through the steps after it as the pixels' do. This step
               counts among them if its constants are known without its statistics; means of
               channels divide. */
            const int first = i + (statistics == HZ_STATISTICS_CHANNEL_MEANS);
            const Steps after(program, first, program.count);
            const bool in_float =
                float_suffices(before, 0, before.count) && float_suffices(after, 0, after.count) &&
                (first == i || hz::float_is_fine_at_black(before.list, 0, before.count));
            means = means_from_sums(image, before, in_float, threads, pixels);
        }
        const double* channels = means.channels;
        if (statistics == HZ_STATISTICS_CHANNEL_MEANS)
            for (int c = 0; c < 3; ++c) step.statistics[c] = channels[c];
        else
            step.statistics[0] = (channels[0] + channels[1] + channels[2]) / 3;
    }
}

void draw(const hz_image& image, const hz_mask* mask, const hz_program& program,
          const hz_image& out, int threads) {
    const Steps steps(program, 0, program.count);
    const bool in_place = hz_api::same_memory(image, out);
    if (in_place && steps.count == 0) return;
    RenderJob job = {image, out, {}, &steps, nullptr, true, nullptr, 0, in_place};
    CurvePieces pieces;
    if (mask) job.mask = *mask;
    std::unique_ptr<ByteDrawing> byte_drawing;
    if (image.type == HZ_U8) {
        byte_drawing = std::make_unique<ByteDrawing>();
        make_byte_drawing(steps, *byte_drawing);
        job.byte_drawing = byte_drawing.get();
    } else {
        job.in_float = float_suffices(steps, 0, steps.count);
        if (make_pieces(steps, job.in_float, job.suffix, pieces)) job.pieces = &pieces;
    }
    const Bands bands = make_bands(image.width, image.height, kPixelsToDraw, kMostBands, threads);
    const Kernels& chosen = kernels();
    for_each_band(bands, [&](int, int64_t first, int64_t end) { chosen.render(job, first, end); });
}

}  // namespace hz_cpu
