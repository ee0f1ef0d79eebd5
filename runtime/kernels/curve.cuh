/* The value-scope steps at the end of an 8-bit program as one curve from float to level.

   v + 1 has the position of v, in units of 2^-23, as its mantissa; the position's high 11 bits are
   the index of a cell, one more than a power of two because of 1.0. Entry + bits(v + 1) is

       level << 16                    or'ed with 16 bits of no meaning,
       1 << 31                        also where the curve is steep: more than one level begins
                                      inside the cell

   because an entry with a level that begins inside its cell carries into bit 16 from there on. A
   steep cell's pixels are evaluated. So a value costs one addition, a shift, a mask, a load from
   shared memory and an addition, whatever the powers. */
#pragma once

#include "pixels.cuh"

namespace hz_gpu {

constexpr u32 kOne = 0x3f800000u; /* the bits of 1.0f */
constexpr u32 kCellWidth = 1u << kCellShift;
constexpr u32 kSteep = 1u << 31;
constexpr int kLevelByte = 2; /* of the sum */

__device__ __forceinline__ u32 look_up(const u32* cells, float value) {
    const u32 bits = __float_as_uint(value + 1.0f);
    return cells[(bits >> kCellShift) - (kOne >> kCellShift)] + bits;
}

/* Three positions through the curve at once. */
__device__ __noinline__ void levels_at(const hz::Step<float>* steps, int first, int end,
                                       const u32 (&positions)[3], int (&levels)[3]) {
    constexpr float unit = 1.0f / (1 << kPositionBits);
    Pixels<float, 1> values = {
        {float(positions[0]) * unit}, {float(positions[1]) * unit}, {float(positions[2]) * unit}};
    run_steps<false>(steps, first, end, values);
    levels[0] = stored_value<u8>(values.r[0]);
    levels[1] = stored_value<u8>(values.g[0]);
    levels[2] = stored_value<u8>(values.b[0]);
}

/* Fill the cells, with the whole block. levels: room for kCells bytes in shared memory. */
__device__ __forceinline__ void make_cells(const hz::Step<float>* steps, int first, int end,
                                           u8* levels, u32* cells) {
    const u32 threads = blockDim.x;
    for (u32 cell = 3 * threadIdx.x; cell < u32(kCells); cell += 3 * threads) {
        const u32 positions[3] = {cell * kCellWidth, (cell + 1) * kCellWidth,
                                  (cell + 2) * kCellWidth};
        int found[3];
        levels_at(steps, first, end, positions, found);
        for (u32 i = 0; i < 3 && cell + i < u32(kCells); ++i) levels[cell + i] = u8(found[i]);
    }
    __syncthreads();
    for (u32 cell = threadIdx.x; cell < u32(kCells); cell += threads) {
        const u32 begin = cell * kCellWidth;
        const int level = levels[cell], next = levels[cell + 1 < u32(kCells) ? cell + 1 : cell];
        u32 entry = (u32(level) << 16) - (kOne + begin);
        if (next > level + 1) entry += kSteep;
        if (next == level + 1) {
            /* The next level begins in (low, low + width]. */
            u32 low = begin, width = kCellWidth;
            while (width > 1) {
                width /= 4;
                const u32 positions[3] = {low + width, low + 2 * width, low + 3 * width};
                int found[3];
                levels_at(steps, first, end, positions, found);
                int below = 0;
                for (int i = 0; i < 3; ++i) below += found[i] <= level;
                low += u32(below) * width;
            }
            entry += 0x10000u - (low + 1 - begin);
        }
        cells[cell] = entry;
    }
}

}  // namespace hz_gpu
