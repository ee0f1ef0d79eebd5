/* Before the predictor: thumbnail, histogram, and what there is of a mask, in one launch.

   The histogram counts in shared memory, a column of counters for each lane: lanes never wait for
   each other, whatever the picture (a flat one makes all lanes count the same value). Two values
   share a 32-bit counter, 48 KB in all; the schedule deals no block more pixels than 16 bits
   count. */
#pragma once

#include "thumbnail.cuh"

namespace hz_gpu {

constexpr int kCounterRows = 3 * 256 / 2;
constexpr int kCounters = kCounterRows * kLanes;

/* `column` is the first counter of the channel and the lane. */
__device__ __forceinline__ void count_value(u32* column, u32 value) {
    atomicAdd(column + (value / 2) * kLanes, value & 1 ? 0x10000u : 1u);
}

/* Count the 16 bytes of `chunk`, the first of which is of channel `columns[phase]`. */
template <int phase>
__device__ __forceinline__ void count_chunk(const uint4& chunk, u32* const (&columns)[3]) {
    const u32 words[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
    for (int i = 0; i < 16; ++i)
        count_value(columns[(phase + i) % 3], words[i / 4] >> (8 * (i % 4)) & 255);
}

__device__ __forceinline__ void count_pixel(const Image& image, i64 row, i64 column,
                                            u32* counters) {
    const u8* pixel = pixel_of(image, row, column);
    for (int c = 0; c < 3; ++c)
        count_value(counters + c * (kCounters / 3) + lane_index(), pixel[c * image.channel_stride]);
}

/* A strip of packed pixels: three 16-byte loads a lane, and the ends of the row one by one. `__ldg`
   says that it is global memory: not every compiler sees it. */
__device__ __forceinline__ void count_packed(const MeasureParameters& p, u32 index, u32* counters) {
    const bool reversed = p.image.channel_stride < 0;
    const u32 row = row_of(p.strips, index);
    const u8* bytes = p.image.data + row * p.image.row_stride - (reversed ? 2 : 0);
    const int head = pixels_before_alignment<3>(bytes);
    const Strip strip = strip_at(p.strips, index, row, head);
    const int lane = lane_index(), chunks = strip.count / 16 * 3;

    /* A lane's first chunk begins with byte 16 * lane, its next 512 bytes on. */
    u32* columns[3];
    for (int i = 0; i < 3; ++i) {
        const int channel = (lane + i) % 3;
        columns[i] = counters + (reversed ? 2 - channel : channel) * (kCounters / 3) + lane;
    }
    const uint4* source = reinterpret_cast<const uint4*>(bytes + 3 * strip.first) + lane;
    const uint4 none = {0, 0, 0, 0};
    const uint4 first = lane < chunks ? __ldg(source + 0) : none;
    const uint4 second = lane + 32 < chunks ? __ldg(source + 32) : none;
    const uint4 third = lane + 64 < chunks ? __ldg(source + 64) : none;
    if (lane < chunks) count_chunk<0>(first, columns);
    if (lane + 32 < chunks) count_chunk<2>(second, columns);
    if (lane + 64 < chunks) count_chunk<1>(third, columns);

    const int done = chunks / 3 * 16, tail = strip.count - done;
    if (lane < tail) count_pixel(p.image, strip.row, strip.first + done + lane, counters);
    if (strip.first == head && lane < head && lane < p.strips.columns)
        count_pixel(p.image, strip.row, lane, counters);
}

/* A strip of pixels of 4 bytes: a load for each. The row's last pixel is read byte by byte, for its
   fourth byte may be no memory. */
__device__ __forceinline__ void count_words(const MeasureParameters& p, const Strip& strip,
                                            u32* counters) {
    const bool reversed = p.image.channel_stride < 0;
    const u8* const first = pixel_of(p.image, strip.row, strip.first) - (reversed ? 2 : 0);
    const bool ends_row = strip.first + strip.count == p.strips.columns;
    const int words = strip.count - int(ends_row);
#pragma unroll 4
    for (int i = lane_index(); i < words; i += kLanes) {
        const u32 word = reinterpret_cast<const u32*>(first)[i];
#pragma unroll
        for (int c = 0; c < 3; ++c)
            count_value(counters + c * (kCounters / 3) + lane_index(),
                        word >> (reversed ? 16 - 8 * c : 8 * c) & 255);
    }
    if (ends_row && lane_index() == 0)
        count_pixel(p.image, strip.row, strip.first + words, counters);
}

__device__ __forceinline__ void count_strips(const MeasureParameters& p, u32* counters) {
    for (u32 index = warp_of_grid(); index < p.strips.count; index += warps_of_grid()) {
        if (p.packed == 3) {
            count_packed(p, index, counters);
            continue;
        }
        const Strip strip = strip_at(p.strips, index);
        if (p.packed == 4) {
            count_words(p, strip, counters);
            continue;
        }
        for (int i = lane_index(); i < strip.count; i += kLanes)
            count_pixel(p.image, strip.row, strip.first + i, counters);
    }
}

/* Add the block's counters to the workspace's: a thread takes a row of them, each lane beginning
   in another bank. */
__device__ __forceinline__ void flush_counters(const u32* counters, u32* counts) {
    const int row = int(threadIdx.x);
    if (row >= kCounterRows) return;
    u32 even = 0, odd = 0;
    for (int i = 0; i < kLanes; ++i) {
        const u32 both = counters[row * kLanes + (row + i) % kLanes];
        even += both & 0xffff;
        odd += both >> 16;
    }
    if (even) atomicAdd(counts + 2 * row, even);
    if (odd) atomicAdd(counts + 2 * row + 1, odd);
}

/* kSeenForeground and kSeenBackground for mask values that lie side by side in a word. */
__device__ __forceinline__ u32 seen_in_word(u32 word, int type) {
    if (type == kF32) {
        const bool zero = (word & 0x7fffffffu) == 0; /* -0.0 too */
        return (zero ? 0 : kSeenForeground) | (word == 0x3f800000u ? 0 : kSeenBackground);
    }
    const bool full =
        type == kBool ? ((word - 0x01010101u) & ~word & 0x80808080u) == 0 : word == 0xffffffffu;
    return (word == 0 ? 0 : kSeenForeground) | (full ? 0 : kSeenBackground);
}

__device__ __forceinline__ u32 seen_in_pixel(const Mask& mask, i64 row, i64 column) {
    const float coverage = exact_coverage(mask, row, column);
    return (coverage == 0.0f ? 0 : kSeenForeground) | (coverage == 1.0f ? 0 : kSeenBackground);
}

/* What the grid's share of the mask shows. */
__device__ __forceinline__ u32 watch_mask(const MeasureParameters& p) {
    const Mask& mask = p.mask;
    const int size = mask.type == kF32 ? 4 : mask.type == kU16 ? 2 : 1;
    u32 seen = 0;
    for (u32 index = warp_of_grid(); index < p.mask_strips.count; index += warps_of_grid()) {
        const Strip strip = strip_at(p.mask_strips, index);
        int done = 0;
        if (p.gapless) {
            const u8* bytes = mask.data + strip.row * mask.row_stride + strip.first * size;
            if (reinterpret_cast<u64>(bytes) % 16 == 0) {
                const int chunks = strip.count * size / 16;
                for (int i = lane_index(); i < chunks; i += kLanes) {
                    const uint4 chunk = reinterpret_cast<const uint4*>(bytes)[i];
                    seen |= seen_in_word(chunk.x, mask.type) | seen_in_word(chunk.y, mask.type) |
                            seen_in_word(chunk.z, mask.type) | seen_in_word(chunk.w, mask.type);
                }
                done = chunks * 16 / size;
            }
        }
        for (int i = done + lane_index(); i < strip.count; i += kLanes)
            seen |= seen_in_pixel(mask, strip.row, strip.first + i);
    }
    return seen;
}

/* `read` as in draw_thumbnail; `counters` is null for pictures that are not counted. */
template <typename Read>
__device__ __forceinline__ void measure(const MeasureParameters& p, const Read& read,
                                        u32* counters) {
    const bool counted = counters && p.counted;
    if (counted)
        for (int i = int(threadIdx.x); i < kCounters; i += int(blockDim.x)) counters[i] = 0;
    u32 seen = p.watched ? 0 : kSeenForeground;
    if (!p.composite || draw_thumbnail(p, read)) seen |= kSeenThumbnail;
    if (p.watched) seen |= watch_mask(p);
    if (counted) {
        __syncthreads();
        count_strips(p, counters);
        __syncthreads();
        flush_counters(counters, &p.workspace->pending_counts[0][0]);
    }
    u32 seen_by_block = 0;
    for (u32 bit = 1; bit <= kSeenBackground; bit *= 2)
        seen_by_block |= __syncthreads_or(int(seen & bit)) ? bit : 0;
    if (threadIdx.x == 0) atomicOr(&p.workspace->pending_seen, seen_by_block);

    if (!is_last_block(&p.workspace->measured_blocks)) return;
    if (threadIdx.x == 0) p.workspace->report.seen = atomicExch(&p.workspace->pending_seen, 0u);
    if (counted)
        for (int i = int(threadIdx.x); i < 3 * 256; i += int(blockDim.x))
            (&p.workspace->counts[0][0])[i] =
                atomicExch(&p.workspace->pending_counts[0][0] + i, 0u);
}

}  // namespace hz_gpu
