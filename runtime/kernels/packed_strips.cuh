/* Strips of packed 8-bit pixels of 3 or 4 bytes: where they are, what the mask says of them, and
   how they come into shared memory and out. */
#pragma once

#include "pixels.cuh"

namespace hz_gpu {

constexpr int kGroup = 4 * kLanes;       /* pixels of a warp at a time, four a lane */
constexpr int kGroups = kStrip / kGroup; /* and one more for a row's first pixels */
constexpr int kMostHead = 15;

/* A block's pixels, as they lie in memory. */
template <int size>
struct Staged {
    alignas(16) u8 of_warp[kDrawThreads / kLanes][size * (kStrip + kMostHead + 1)];
};

/* One row's strip in memory. Staged pixels are the strip's, then the row's `heads` first ones. */
struct PackedStrip {
    Strip strip;
    int heads;
    int whole;        /* so many of the strip's pixels may be moved by 16 bytes */
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
    return type == kBool ? ((word - 0x01010101u) & ~word & 0x80808080u) == 0 : word == 0xffffffffu;
}

__device__ __forceinline__ void look_at_group(const Mask& mask, const PackedStrip& place, int group,
                                              Seen& seen) {
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

/* The fourth byte of each pixel. */
__device__ __forceinline__ u32 fourth_bytes(const uint4& quad) {
    return __byte_perm(__byte_perm(quad.x, quad.y, 0x0073), __byte_perm(quad.z, quad.w, 0x0073),
                       0x5410);
}

/* within: the mask is the fourth byte of the picture's pixels. */
__device__ __forceinline__ Seen look_at_strip(const Mask& mask, const PackedStrip& place,
                                              bool within) {
    constexpr u32 all = (1u << kGroups) - 1;
    Seen seen = {0, 0};
    const u8* address =
        mask.data + place.strip.row * mask.row_stride + place.strip.first * mask.pixel_stride;
    const bool words =
        place.strip.count == kStrip && (within || (mask.data && mask.pixel_stride == 1 &&
                                                   reinterpret_cast<u64>(address) % 4 == 0));
    if (words) { /* all loads on their way before the first is looked at */
        u32 found[kGroups];
#pragma unroll
        for (int group = 0; group < kGroups; ++group) {
            const int i = group * kLanes + lane_index();
            found[group] = within ? fourth_bytes(reinterpret_cast<const uint4*>(address - 3)[i])
                                  : reinterpret_cast<const u32*>(address)[i];
        }
        if ((found[0] & found[1] & found[2] & found[3]) == 0xffffffffu) {
            seen = {all, all};
        } else {
#pragma unroll
            for (int group = 0; group < kGroups; ++group)
                seen.add(group, found[group] != 0, is_full(found[group], mask.type));
        }
    }
    const bool everything = !mask.data && place.strip.count == kStrip;
    if (everything) seen = {all, all};
    const int first = words || everything ? kGroups : 0, end = place.heads ? kGroups + 1 : kGroups;
#pragma unroll 1
    for (int group = first; group < end; ++group) look_at_group(mask, place, group, seen);
    return seen;
}

/* From memory to shared memory, or back. `__ldcs` says that it is global memory, which not every
   compiler sees, and that the picture is read once. */
template <bool to_staged>
__device__ __forceinline__ void move_byte(u8* there, u8* here) {
    if constexpr (to_staged)
        *here = __ldcs(there);
    else
        *there = *here;
}

/* Three times 16 bytes a lane: the usual strip of pixels of 3 bytes. */
struct Chunks {
    uint4 of_lane[3];
};

__device__ __forceinline__ bool is_whole(const PackedStrip& place) { return place.whole == kStrip; }

/* All loads on their way before the first is looked at. */
__device__ __forceinline__ Chunks load_chunks(const PackedStrip& place) {
    const uint4* const there =
        reinterpret_cast<const uint4*>(place.source + 3 * place.strip.first) + lane_index();
    return {{__ldcs(there), __ldcs(there + kLanes), __ldcs(there + 2 * kLanes)}};
}

/* Move a strip that is not whole, and the row's first pixels. */
template <bool to_staged>
__device__ __forceinline__ void move_pieces(const PackedStrip& place, u8* row, u8* staged) {
    u8* const bytes = row + 3 * place.strip.first;
    const int lane = lane_index(), chunks = is_whole(place) ? 0 : place.whole / 16 * 3;
    const int moved = is_whole(place) ? 3 * kStrip : 16 * chunks;
#pragma unroll 1
    for (int i = lane; i < chunks; i += kLanes) {
        uint4* const there = reinterpret_cast<uint4*>(bytes) + i;
        uint4* const here = reinterpret_cast<uint4*>(staged) + i;
        if constexpr (to_staged)
            *here = __ldcs(there);
        else
            *there = *here;
    }
#pragma unroll 1
    for (int i = moved + lane; i < 3 * place.strip.count; i += kLanes)
        move_byte<to_staged>(bytes + i, staged + i);
#pragma unroll 1
    for (int i = lane; i < 3 * place.heads; i += kLanes)
        move_byte<to_staged>(row + i, staged + 3 * kStrip + i);
}

/* chunks: loaded if the strip is whole. */
__device__ __forceinline__ void stage_strip(const PackedStrip& place, const Chunks& chunks,
                                            u8* staged) {
    uint4* const here = reinterpret_cast<uint4*>(staged) + lane_index();
    if (is_whole(place)) {
#pragma unroll
        for (int i = 0; i < 3; ++i) here[i * kLanes] = chunks.of_lane[i];
        if (!place.heads) return;
    }
    move_pieces<true>(place, const_cast<u8*>(place.source), staged);
}

__device__ __forceinline__ void store_strip(const PackedStrip& place, u8* staged) {
    uint4* const there =
        reinterpret_cast<uint4*>(place.target + 3 * place.strip.first) + lane_index();
    const uint4* const here = reinterpret_cast<const uint4*>(staged) + lane_index();
    if (is_whole(place)) {
#pragma unroll
        for (int i = 0; i < 3; ++i) there[i * kLanes] = here[i * kLanes];
        if (!place.heads) return;
    }
    move_pieces<false>(place, place.target, staged);
}

/* Pixels of 4 bytes: each lane moves its own four of the groups whose bits are set, so that no lane
   waits for another. In shared memory they are three words of colours and the four fourth bytes.
   These belong to others (an alpha channel, which may be the mask): they are the target's, and
   come back to it with the value they had. */
__device__ __forceinline__ uint4 packed_four(const uint4& quad) {
    return {__byte_perm(quad.x, quad.y, 0x4210), __byte_perm(quad.y, quad.z, 0x5421),
            __byte_perm(quad.z, quad.w, 0x6542), fourth_bytes(quad)};
}

__device__ __forceinline__ uint4 unpacked_four(const uint4& four) {
    return {__byte_perm(four.x, four.w, 0x4210),
            __byte_perm(__byte_perm(four.x, four.y, 0x0543), four.w, 0x5210),
            __byte_perm(__byte_perm(four.y, four.z, 0x0432), four.w, 0x6210),
            __byte_perm(four.z, four.w, 0x7321)};
}

/* Which groups have a lane's four pixels where 16 bytes may be moved. */
__device__ __forceinline__ u32 whole_groups(const PackedStrip& place) {
    u32 bits = 0;
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
        bits |= u32(group * kGroup + 4 * lane_index() < place.whole) << group;
    return bits;
}

/* The others, byte by byte, without the fourth. */
template <bool to_staged>
__device__ __forceinline__ void move_single(const PackedStrip& place, u32 groups, u8* row,
                                            u8* staged) {
#pragma unroll 1
    for (int group = 0; group <= kGroups; ++group) {
        const int slot = group * kGroup + 4 * lane_index();
        if (!(groups >> group & 1)) continue;
        u8* const bytes = row + 4 * place.column_of(slot);
        const int valid = place.valid_at(slot);
#pragma unroll 1
        for (int i = 0; i < 3 * valid; ++i) {
            move_byte<to_staged>(bytes + i / 3 * 4 + i % 3, staged + 4 * slot + i);
        }
    }
}

__device__ __forceinline__ void load_fours(const PackedStrip& place, u32 groups, bool in_place,
                                           u8* staged) {
    const i64 offset = 4 * place.strip.first + 16 * lane_index();
    const uint4* const source = reinterpret_cast<const uint4*>(place.source + offset);
    const uint4* const target = reinterpret_cast<const uint4*>(place.target + offset);
    uint4* const here = reinterpret_cast<uint4*>(staged) + lane_index();
    const u32 whole = groups & whole_groups(place);
    uint4 loaded[kGroups]; /* all loads on their way before the first is stored */
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
        if (whole >> group & 1) loaded[group] = __ldcs(source + group * kLanes);
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
        if (whole >> group & 1) here[group * kLanes] = packed_four(loaded[group]);
    if (!in_place) {
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
            if (whole >> group & 1) loaded[group] = target[group * kLanes];
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
            if (whole >> group & 1) here[group * kLanes].w = fourth_bytes(loaded[group]);
    }
    move_single<true>(place, groups & ~whole, const_cast<u8*>(place.source), staged);
}

__device__ __forceinline__ void store_fours(const PackedStrip& place, u32 groups, u8* staged) {
    uint4* const target =
        reinterpret_cast<uint4*>(place.target + 4 * place.strip.first) + lane_index();
    const uint4* const here = reinterpret_cast<const uint4*>(staged) + lane_index();
    const u32 whole = groups & whole_groups(place);
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
        if (whole >> group & 1) target[group * kLanes] = unpacked_four(here[group * kLanes]);
    move_single<false>(place, groups & ~whole, place.target, staged);
}

}  // namespace hz_gpu
