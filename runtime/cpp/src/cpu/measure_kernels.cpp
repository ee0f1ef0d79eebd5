/* Histograms and sums over rows; compiled once for each instruction set. */
#include "cpu/loading.h"
#if defined(__AVX512BW__)
#include "cpu/sums_avx512.h"
#endif

namespace HZ_NAMESPACE {

/* Neighbouring pixels are often equal, and adding to a counter that was just stored waits for that
   store; so neighbours count in different tables. */
constexpr int kTables = 4;

void count_values(const hz_image& image, int64_t first, int64_t end, uint64_t (*counts)[256]) {
    uint32_t tables[kTables][3][256];
    memset(tables, 0, sizeof tables);
    for (int64_t y = first; y < end; ++y) {
        const char* row = static_cast<const char*>(image.data) + y * image.row_stride;
        with_layout<uint8_t>(image.pixel_stride, image.channel_stride, [&](auto ps, auto cs) {
            const auto count = [&](uint32_t (*table)[256], int64_t x) {
                const char* pixel = row + x * int64_t(ps);
                ++table[0][load<uint8_t>(pixel)];
                ++table[1][load<uint8_t>(pixel + int64_t(cs))];
                ++table[2][load<uint8_t>(pixel + 2 * int64_t(cs))];
            };
            int64_t x = 0;
            for (; x + kTables <= image.width; x += kTables)
                for (int t = 0; t < kTables; ++t) count(tables[t], x + t);
            for (; x < image.width; ++x) count(tables[0], x);
        });
    }
    for (int t = 0; t < kTables; ++t)
        for (int c = 0; c < 3; ++c)
            for (int value = 0; value < 256; ++value) counts[c][value] += tables[t][c][value];
}

/* Packed pixels are summed as bytes, 48 at a time: 16 pixels, so that a lane keeps its channel. */
constexpr int kLanes = 48;
constexpr int64_t kMostChunks = 256; /* 256 times 255 fits the 16 bits of a lane's sum */

bool sum_values(const hz_image& image, const uint8_t (&limits)[3], int64_t first, int64_t end,
                hz_cpu::Sums& sums) {
    const bool reversed = image.channel_stride == -1;
    if (image.pixel_stride != 3 || (image.channel_stride != 1 && !reversed)) return false;
    const auto channel = [&](int64_t byte) { return reversed ? 2 - byte % 3 : byte % 3; };
    uint8_t limit[kLanes];
    for (int i = 0; i < kLanes; ++i) limit[i] = limits[channel(i)];
    const int64_t bytes = image.width * 3;
#if defined(__AVX512BW__)
    const uint8_t ordered[3] = {limit[0], limit[1], limit[2]};
    uint64_t above[3] = {}, upto[3] = {};
    for (int64_t y = first; y < end; ++y)
        sum_row(static_cast<const uint8_t*>(image.data) + y * image.row_stride - (reversed ? 2 : 0),
                bytes, ordered, above, upto);
    for (int i = 0; i < 3; ++i) {
        sums.above[channel(i)] += above[i];
        sums.upto[channel(i)] += upto[i];
    }
    return true;
#endif
    for (int64_t y = first; y < end; ++y) {
        const uint8_t* __restrict row =
            static_cast<const uint8_t*>(image.data) + y * image.row_stride - (reversed ? 2 : 0);
        int64_t done = 0;
        while (bytes - done >= kLanes) {
            uint16_t above[kLanes] = {}, upto[kLanes] = {};
            const int64_t left = (bytes - done) / kLanes;
            const int64_t chunks = left < kMostChunks ? left : kMostChunks;
            for (int64_t chunk = 0; chunk < chunks; ++chunk, done += kLanes)
                for (int i = 0; i < kLanes; ++i) {
                    const uint8_t over = row[done + i] > limit[i] ? 255 : 0;
                    above[i] += uint8_t(over & 1);
                    upto[i] += uint8_t(row[done + i] & ~over);
                }
            for (int i = 0; i < kLanes; ++i) {
                sums.above[channel(i)] += above[i];
                sums.upto[channel(i)] += upto[i];
            }
        }
        for (; done < bytes; ++done) {
            const bool over = row[done] > limits[channel(done)];
            sums.above[channel(done)] += over;
            sums.upto[channel(done)] += over ? 0 : row[done];
        }
    }
    return true;
}

constexpr int kSums = 8;

/* Eight running sums, then the values after `i`, added up in order. */
template <typename T>
double add_up(const double (&lanes)[kSums], const T* plane, int i, int n) {
    double sum = 0;
    for (int j = 0; j < kSums; ++j) sum += lanes[j];
    for (; i < n; ++i) sum += double(plane[i]);
    return sum;
}

/* The same order of additions for every block, eight running sums to fill a vector. */
template <typename T>
double sum_plane(const T* plane, int n) {
    double lanes[kSums] = {};
    int i = 0;
    for (; i + kSums <= n; i += kSums)
        for (int j = 0; j < kSums; ++j) lanes[j] += double(plane[i + j]);
    return add_up(lanes, plane, i, n);
}

template <typename T>
void sum_planes(const Planes<T>& planes, int n, double* sums) {
    const T* const channels[3] = {planes.r, planes.g, planes.b};
    for (int c = 0; c < 3; ++c) sums[c] += sum_plane(channels[c], n);
}
#if defined(__AVX512BW__)
/* The same sums side by side: each addition waits for the one before. */
template <>
void sum_planes<float>(const Planes<float>& planes, int n, double* sums) {
    const float* const channels[3] = {planes.r, planes.g, planes.b};
    __m512d running[3] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd()};
    int i = 0;
    for (; i + kSums <= n; i += kSums)
        for (int c = 0; c < 3; ++c)
            running[c] =
                _mm512_add_pd(running[c], _mm512_cvtps_pd(_mm256_load_ps(channels[c] + i)));
    for (int c = 0; c < 3; ++c) {
        alignas(64) double lanes[kSums];
        _mm512_store_pd(lanes, running[c]);
        sums[c] += add_up(lanes, channels[c], i, n);
    }
}
#endif

template <typename T, typename S>
void sum_rows(const hz_image& image, const Steps& steps, int64_t first, int64_t end, double* sums) {
    Planes<T> planes;
    for (int64_t y = first; y < end; ++y) {
        const char* row = static_cast<const char*>(image.data) + y * image.row_stride;
        for (int64_t x = 0; x < image.width; x += kBlock) {
            const int n = int(image.width - x < kBlock ? image.width - x : kBlock);
            load_block<T, S>(row + x * image.pixel_stride, image, n, planes);
            run_steps(steps, 0, steps.count, n, planes);
            sum_planes(planes, n, sums);
        }
    }
}

template <typename T>
void sum_rows_of_type(const hz_image& image, const Steps& steps, int64_t first, int64_t end,
                      double* sums) {
    if (image.type == HZ_U8)
        sum_rows<T, uint8_t>(image, steps, first, end, sums);
    else if (image.type == HZ_U16)
        sum_rows<T, uint16_t>(image, steps, first, end, sums);
    else
        sum_rows<T, float>(image, steps, first, end, sums);
}

void sum_channels(const hz_image& image, const Steps& steps, bool in_float, int64_t first,
                  int64_t end, double* sums) {
    sums[0] = sums[1] = sums[2] = 0;
    if (in_float)
        sum_rows_of_type<float>(image, steps, first, end, sums);
    else
        sum_rows_of_type<double>(image, steps, first, end, sums);
}

/* Value-scope steps treat the three planes alike, so each takes a third of the values. */
void evaluate(const Steps& steps, int first, double* values, int count) {
    Planes<double> planes;
    for (int done = 0; done < count; done += 3 * kBlock) {
        const int left = count - done < 3 * kBlock ? count - done : 3 * kBlock;
        const int third = (left + 2) / 3;
        double* const targets[3] = {planes.r, planes.g, planes.b};
        double* const from = values + done;
        for (int c = 0, i = 0; c < 3; ++c)
            for (int k = 0; k < third; ++k, ++i) targets[c][k] = i < left ? from[i] : 0;
        planes.pad_from(third);
        run_steps(steps, first, steps.count, third, planes);
        for (int c = 0, i = 0; c < 3; ++c)
            for (int k = 0; k < third && i < left; ++k, ++i) from[i] = targets[c][k];
    }
}

}  // namespace HZ_NAMESPACE
