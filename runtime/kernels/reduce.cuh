/* Statistics that no histogram holds: means of the picture as the steps before leave it, added in
   double in an order that the picture's size alone decides. */
#pragma once

#include "drawing.cuh"

namespace hz_gpu {

struct Reducing {
    hz::Step<double> steps[HZ_MAX_STEPS];
    hz::Step<float> float_steps[HZ_MAX_STEPS];
    double scratch[kReduceThreads / kLanes];
    int in_float;
};

/* Pixels of a picture of R, G and B. */
template <typename S>
struct StoredPixels {
    const Image& image;

    template <typename T, int N>
    __device__ __forceinline__ void load(i64 row, i64 first, i64 end, Pixels<T, N>& pixels) const {
        load_pixels<S>(image, row, first, end, pixels);
    }
};

/* Add what the grid's share of the picture is after the steps [0, count). */
template <typename T, int N, typename Picture>
__device__ __forceinline__ void add_strips(const ReduceParameters& p, const Picture& picture,
                                           const hz::Step<T>* steps, double (&sums)[3]) {
    for (u32 index = warp_of_grid(); index < p.strips.count; index += warps_of_grid()) {
        const Strip strip = strip_at(p.strips, index);
        const i64 end = strip.first + strip.count;
#pragma unroll 1
        for (i64 first = strip.first + lane_index(); first < end; first += N * kLanes) {
            Pixels<T, N> pixels;
            picture.load(strip.row, first, end, pixels);
            run_steps<true>(steps, 0, p.step, pixels);
#pragma unroll
            for (int k = 0; k < N; ++k) {
                if (first + k * kLanes >= end) continue;
                sums[0] += double(pixels.r[k]);
                sums[1] += double(pixels.g[k]);
                sums[2] += double(pixels.b[k]);
            }
        }
    }
}

template <typename Picture>
__device__ __forceinline__ void reduce(const ReduceParameters& p, const Picture& picture,
                                       Reducing& shared) {
    Workspace& workspace = *p.workspace;
    const Report& report = workspace.report;
    if (workspace.drawing.nothing) return;
    /* A mean's rounding errors go through the steps after it as the pixels' do. This step counts
       among them if its constants are known without its statistics; means of channels divide. */
    const int kind = statistics_of(report.steps[p.step].operation);
    const int after = p.step + (kind == HZ_STATISTICS_CHANNEL_MEANS);
    const int index = int(threadIdx.x);
    if (index < report.count && (index < p.step || index >= after)) {
        hz::Step<double>& step = shared.steps[index];
        prepare(report.steps[index], workspace.drawing, step);
        to_float(step, workspace.drawing, shared.float_steps[index]);
    }
    __syncthreads();
    if (index == 0)
        shared.in_float = float_suffices(shared.steps, 0, p.step, false, 0) &&
                          float_suffices(shared.steps, after, report.count, false, 0) &&
                          (after == p.step || hz::float_is_fine_at_black(shared.steps, 0, p.step));
    __syncthreads();

    double sums[3] = {};
    if (shared.in_float)
        add_strips<float, 2>(p, picture, shared.float_steps, sums);
    else
        add_strips<double, 1>(p, picture, shared.steps, sums);
    for (int c = 0; c < 3; ++c) {
        const double sum = sum_of_block(sums[c], shared.scratch);
        if (index == 0) workspace.partial_sums[blockIdx.x][c] = sum;
    }
    if (!is_last_block(&workspace.reduced_blocks)) return;
    double means[3];
    for (int c = 0; c < 3; ++c) {
        double sum = 0;
        for (int i = index; i < int(gridDim.x); i += kReduceThreads) {
            const volatile double& partial = workspace.partial_sums[i][c];
            sum += partial;
        }
        means[c] = sum_of_block(sum, shared.scratch) / p.pixels;
    }
    if (index == 0) store_statistics(workspace.report.steps[p.step], means[0], means[1], means[2]);
}

}  // namespace hz_gpu
