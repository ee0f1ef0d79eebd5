/* Strips of packed 8-bit pixels: where they are, what the mask says of them, and how they come into
   shared memory and out. */
#pragma once

#include "pixels.cuh"

namespace hz_gpu {

constexpr int kGroup = 4 * kLanes;       /* pixels of a warp at a time, four a lane */
constexpr int kGroups = kStrip / kGroup; /* and one more for a row's first pixels */
constexpr int kMostHead = 15;
constexpr int kStagedBytes = 3 * (kStrip + kMostHead + 1);

/* One row's strip in memory. Staged pixels are the strip's, then the row's `heads` first ones. */
struct PackedStrip {
    Strip strip;
    int heads;
    const u8* source; /* the row's first byte */
    u8* target;

    /* The column of a staged pixel. */
    __device__ __forceinline__ i64 column_of(int slot) const {
        return slot < kStrip ? strip.first + slot : i64(slot - kStrip);
    }
    /* How many of the four pixels from a slot on are pixels of the row. */
    __device__ __forceinline__ int valid_at(int slot) const {
        const int left = slot < kStrip ? strip.count - slot : heads - (slot - kStrip);
        return left < 0 ? 0 : left < 4 ? left : 4;
    }
};

/* What a lane's pixels of each group are, as bits: whether any of the four is to be drawn, and
   whether all are, in full. */
struct Seen {
    u32 any, full;

    __device__ __forceinline__ void add(int group, bool some, bool all) {
        any |= u32(some) << group;
        full |= u32(all) << group;
    }
};

__device__ __forceinline__ bool is_full(u32 word, int type) {
    return type == kBool ? ((word - 0x01010101u) & ~word & 0x80808080u) == 0
                         : word == 0xffffffffu;
}

__device__ __forceinline__ void look_at_group(const Cover& mask, const PackedStrip& place,
                                              int group, Seen& seen) {
    const int slot = group * kGroup + 4 * lane_index(), valid = place.valid_at(slot);
    const i64 column = place.column_of(slot);
    bool any = false, full = valid == 4;
    for (int i = 0; i < valid; ++i) {
        const float coverage = coverage_of<float>(mask, place.strip.row, column + i);
        any |= coverage != 0.0f;
        full &= coverage == 1.0f;
    }
    seen.add(group, any, full);
}

__device__ __forceinline__ Seen look_at_strip(const Cover& mask, const PackedStrip& place) {
    Seen seen = {0, 0};
    const u8* address = mask.data + place.strip.row * mask.row_stride +
                        place.strip.first * mask.pixel_stride;
    const bool words = mask.data && mask.pixel_stride == 1 &&
                       reinterpret_cast<u64>(address) % 4 == 0 && place.strip.count == kStrip;
    if (words) { /* all loads on their way before the first is looked at */
        u32 found[kGroups];
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
            found[group] = reinterpret_cast<const u32*>(address)[group * kLanes + lane_index()];
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
            seen.add(group, found[group] != 0, is_full(found[group], mask.type));
    }
    const bool everything = !mask.data && place.strip.count == kStrip;
    constexpr u32 all = (1u << kGroups) - 1;
    if (everything) seen = {all, all};
    const int first = words || everything ? kGroups : 0, end = place.heads ? kGroups + 1 : kGroups;
#pragma unroll 1
    for (int group = first; group < end; ++group) look_at_group(mask, place, group, seen);
    return seen;
}

/* Move a strip between memory and shared memory, or from memory to memory. */
template <bool to_staged>
__device__ __forceinline__ void move_strip(const PackedStrip& place, u8* row, u8* staged) {
    const int lane = lane_index(), chunks = place.strip.count / 16 * 3;
    u8* const bytes = row + 3 * place.strip.first;
    uint4* const there = reinterpret_cast<uint4*>(bytes) + lane;
    uint4* const here = reinterpret_cast<uint4*>(staged) + lane;
#pragma unroll
    for (int i = 0; i < 96; i += kLanes)
        if (lane + i < chunks) (to_staged ? here : there)[i] = (to_staged ? there : here)[i];
#pragma unroll 1
    for (int i = 16 * chunks + lane; i < 3 * place.strip.count; i += kLanes)
        (to_staged ? staged : bytes)[i] = (to_staged ? bytes : staged)[i];
#pragma unroll 1
    for (int i = lane; i < 3 * place.heads; i += kLanes)
        (to_staged ? staged + 3 * kStrip : row)[i] = (to_staged ? row : staged + 3 * kStrip)[i];
}

}  // namespace hz_gpu
