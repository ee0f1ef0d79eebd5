/* Warps, blocks and the strips of pixels that they take. */
#pragma once

#include "hz_workspace.h"

namespace hz_gpu {

constexpr u32 kAllLanes = 0xffffffffu;
constexpr int kLanes = 32;

__device__ __forceinline__ int lane_index() { return int(threadIdx.x % kLanes); }
__device__ __forceinline__ int warp_of_block() { return int(threadIdx.x / kLanes); }
__device__ __forceinline__ u32 warps_of_grid() { return gridDim.x * (blockDim.x / kLanes); }
/* Neighbouring warps of one block take neighbouring strips. */
__device__ __forceinline__ u32 warp_of_grid() {
    return blockIdx.x * (blockDim.x / kLanes) + threadIdx.x / kLanes;
}

/* The same value, of which the compiler knows nothing. */
__device__ __forceinline__ int opaque(int value) {
    asm volatile("" : "+r"(value));
    return value;
}

/* True in the block that is the last of the grid to get here; what the others wrote before is
   visible to it (read it with `volatile` or atomics: lines of the first-level cache may be old).
   The counter is left at 0. */
__device__ __forceinline__ bool is_last_block(u32* finished) {
    __threadfence();
    __syncthreads();
    const bool mine = threadIdx.x == 0 && atomicAdd(finished, 1u) == gridDim.x - 1;
    if (!__syncthreads_or(mine)) return false;
    __threadfence();
    if (threadIdx.x == 0) *finished = 0;
    return true;
}

/* The sum over the block, in one fixed order, for every thread. scratch: one number a warp. */
__device__ __forceinline__ double sum_of_block(double value, double* scratch) {
    for (int apart = kLanes / 2; apart > 0; apart /= 2)
        value += __shfl_down_sync(kAllLanes, value, apart);
    __syncthreads();
    if (lane_index() == 0) scratch[warp_of_block()] = value;
    __syncthreads();
    double sum = 0;
    for (int warp = 0; warp < int(blockDim.x) / kLanes; ++warp) sum += scratch[warp];
    return sum;
}

/* A part of one row: pixels [first, first + count), count 0 to kStrip. */
struct Strip {
    i64 row, first;
    int count;
};

__device__ __forceinline__ u32 row_of(const Strips& strips, u32 index) {
    return strips.rows == 1 ? 0 : index / strips.per_row;
}

/* `head` pixels at the beginning of the row are left out. */
__device__ __forceinline__ Strip strip_at(const Strips& strips, u32 index, u32 row, int head) {
    Strip strip = {i64(row), head + i64(index - row * strips.per_row) * kStrip, 0};
    const i64 left = strips.columns - strip.first;
    strip.count = left < 0 ? 0 : left < kStrip ? int(left) : kStrip;
    return strip;
}

__device__ __forceinline__ Strip strip_at(const Strips& strips, u32 index) {
    return strip_at(strips, index, row_of(strips, index), 0);
}

/* Rows of packed bytes may begin anywhere, 16-byte accesses may not: so many pixels (of `size`
   bytes) lie before the first pixel that begins at a multiple of 16. 3 * head = -address (mod 16),
   and -1/3 is 5 there. Pixels of 4 bytes begin at multiples of 4. */
template <int size>
__device__ __forceinline__ int pixels_before_alignment(const u8* row) {
    static_assert(size == 3 || size == 4);
    const u64 address = reinterpret_cast<u64>(row);
    return size == 3 ? int(address % 16 * 5 % 16) : int(-(address / 4) % 4);
}

}  // namespace hz_gpu
