/* The view of a predictor that looks at foreground and background apart: see hz_region_thumbnails.

   One launch finds the foreground's bounding box and leaves it in the workspace. The next makes
   both thumbnails, a block for each row of results: it adds up the picture's rows of that row's
   window, a chunk of columns at a time, and then, a thread for each result, the columns of its
   window. Every sum is made by one thread in one order. */
#pragma once

#include "hz_antialias.h"
#include "thumbnail.cuh"

namespace hz_gpu {

/* Grow-only bounds, 0 for nothing: top and left are counted from the far end. */
struct Extent {
    u32 bounds[4];

    __device__ __forceinline__ void add(i64 row, i64 column, const RegionParameters& p) {
        const u32 found[4] = {u32(p.height - row), u32(row + 1), u32(p.width - column),
                              u32(column + 1)};
        for (int i = 0; i < 4; ++i) bounds[i] = found[i] > bounds[i] ? found[i] : bounds[i];
    }
};

__device__ __forceinline__ u32 largest_of_warp(u32 value) {
    for (int apart = kLanes / 2; apart > 0; apart /= 2) {
        const u32 other = __shfl_down_sync(kAllLanes, value, apart);
        value = other > value ? other : value;
    }
    return value;
}

/* A frame's first region launch; `shared` is the block's extent. */
__device__ __forceinline__ void find_box(const RegionParameters& p, Extent& shared) {
    Workspace& workspace = *p.workspace;
    if (threadIdx.x < 4) shared.bounds[threadIdx.x] = 0;
    Extent extent = {};
    for (u32 index = warp_of_grid(); index < p.strips.count; index += warps_of_grid()) {
        const Strip strip = strip_at(p.strips, index);
        for (int i = lane_index(); i < strip.count; i += kLanes)
            if (exact_coverage(p.mask, strip.row, strip.first + i) > 0.0f)
                extent.add(strip.row, strip.first + i, p);
    }
    __syncthreads();
    for (int i = 0; i < 4; ++i) {
        const u32 bound = largest_of_warp(extent.bounds[i]);
        if (lane_index() == 0) atomicMax(&shared.bounds[i], bound);
    }
    __syncthreads();
    if (threadIdx.x < 4)
        atomicMax(&workspace.pending_bounds[threadIdx.x], shared.bounds[threadIdx.x]);

    if (!is_last_block(&workspace.searched_blocks) || threadIdx.x != 0) return;
    u32 bounds[4];
    for (int i = 0; i < 4; ++i) bounds[i] = atomicExch(&workspace.pending_bounds[i], 0u);
    Box box = {};
    if (bounds[1] > 0) box = {i64(p.height - bounds[0]), i64(p.width - bounds[2]), 0, 0};
    box.height = bounds[1] - box.top;
    box.width = bounds[3] - box.left;
    /* Nothing to look at: as a mask that vanishes in the other kind of thumbnail. */
    if (box.height < 2 || box.width < 2) {
        box = {};
        workspace.report.seen &= ~kSeenThumbnail;
    }
    workspace.box = box;
}

constexpr int kRegionColumns = 4; /* of a thread: loads on their way at once */
constexpr int kRegionChunk = kRegionColumns * kRegionThreads;

/* A chunk's columns summed over the rows: red, green, blue, coverage. Threads read it at distances
   of 8 or 16 columns, say; one place left out after 32 keeps them out of each other's banks. */
struct RegionSums {
    float values[4][kRegionChunk + kRegionChunk / 32];
};

__device__ __forceinline__ int place_of(int column) { return column + column / 32; }

/* As it is stored; region_scale brings it to [0, 1]. */
__device__ __forceinline__ float stored_coverage(const Mask& mask, i64 row, i64 column) {
    const u8* address = mask.data + row * mask.row_stride + column * mask.pixel_stride;
    switch (mask.type) {
        case kU8:
            return float(*address);
        case kU16:
            return float(at<u16>(address));
        case kF32:
            return at<float>(address);
        default:
            return float(*address != 0);
    }
}

__device__ __forceinline__ float coverage_scale(int type) {
    return type == kU8 ? 1.0f / 255.0f : type == kU16 ? 1.0f / 65535.0f : 1.0f;
}

/* Columns [first, first + count) of the box. */
template <typename S>
__device__ __forceinline__ void add_rows(const RegionParameters& p, const Box& box,
                                         const hz::Window& rows, i64 first, int count,
                                         RegionSums& shared) {
    float sums[kRegionColumns][4] = {};
#pragma unroll 1
    for (i64 k = 0; k < rows.count; ++k) {
        const float weight = rows.weight(k);
        const i64 row = box.top + rows.first + k;
#pragma unroll
        for (int i = 0; i < kRegionColumns; ++i) {
            const int at_chunk = int(threadIdx.x) + i * kRegionThreads;
            if (at_chunk >= count) continue;
            const i64 column = box.left + first + at_chunk;
            const u8* pixel = pixel_of(p.image, row, column);
#pragma unroll
            for (int c = 0; c < 3; ++c)
                sums[i][c] =
                    fmaf(weight, float(at<S>(pixel + c * p.image.channel_stride)), sums[i][c]);
            sums[i][3] = fmaf(weight, stored_coverage(p.mask, row, column), sums[i][3]);
        }
    }
#pragma unroll
    for (int i = 0; i < kRegionColumns; ++i) {
        const int at_chunk = int(threadIdx.x) + i * kRegionThreads;
        if (at_chunk >= count) continue;
#pragma unroll
        for (int c = 0; c < 4; ++c) shared.values[c][place_of(at_chunk)] = sums[i][c];
    }
}

/* What the chunk's columns [first, first + count) give to a result. */
__device__ __forceinline__ void add_columns(const hz::Window& columns, i64 first, int count,
                                            const RegionSums& shared, float (&result)[4]) {
    const i64 begins = columns.first - first, ends = begins + columns.count;
    const int begin = begins > 0 ? begins < count ? int(begins) : count : 0;
    const int end = ends < count ? int(ends) : count;
    for (int i = begin; i < end; ++i) {
        const float weight = columns.weight(i - begins);
#pragma unroll
        for (int c = 0; c < 4; ++c)
            result[c] = fmaf(weight, shared.values[c][place_of(i)], result[c]);
    }
}

/* One row of one thumbnail: blocks [0, 256) the foreground's, the others the background's. */
template <typename S>
__device__ __forceinline__ void draw_regions(const RegionParameters& p, RegionSums& shared) {
    constexpr int plane = kThumbnail * kThumbnail;
    const bool outside = blockIdx.x >= u32(kThumbnail);
    const int row = int(blockIdx.x) % kThumbnail, column = int(threadIdx.x);
    Box box = {0, 0, p.height, p.width};
    if (!outside) box = p.workspace->box;
    float result[4] = {};
    if (box.height > 0) {
        const hz::Window rows = hz::window_at(row, box.height, kThumbnail);
        const hz::Window columns = hz::window_at(column, box.width, kThumbnail);
        for (i64 first = 0; first < box.width; first += kRegionChunk) {
            const i64 left = box.width - first;
            const int count = left < kRegionChunk ? int(left) : kRegionChunk;
            add_rows<S>(p, box, rows, first, count, shared);
            __syncthreads();
            add_columns(columns, first, count, shared, result);
            __syncthreads();
        }
    }
    const float covered = hz::clipped_unit(result[3] * coverage_scale(p.mask.type));
    const float share = outside ? 1.0f - covered : covered;
    const int value_size = p.thumbnail_type == kF16 ? 2 : 4;
    u8* target = static_cast<u8*>(outside ? p.background : p.foreground);
    for (int c = 0; c < 3; ++c)
        store_thumbnail(target + i64(c) * plane * value_size, p.thumbnail_type,
                        row * kThumbnail + column,
                        hz::clipped_unit(result[c] * (1.0f / float(Full<S>::value))) * share);
}

}  // namespace hz_gpu
