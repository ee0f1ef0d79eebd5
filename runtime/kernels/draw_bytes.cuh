/* Draw packed 8-bit pictures, of 3 or 4 bytes a pixel, near memory's speed; docs/cuda-kernels.md
   counts the instructions.

   A warp takes a strip of 512 pixels. In place it looks at the mask first and leaves the strip alone
   where that is 0. 16-byte loads, side by side, bring the strip into shared memory, from where each
   lane takes groups of four pixels (three words), draws them and puts them back; 16-byte stores
   bring the strip out. Rows that begin or end between multiples of 16 bytes move those few pixels
   byte by byte, in a group of their own. Of four bytes, the fourth is never changed; a row's last
   pixel moves byte by byte, so that nothing beyond its three channels is touched. */
#pragma once

#include "curve.cuh"
#include "draw_any.cuh"
#include "drawing.cuh"
#include "packed_strips.cuh"

namespace hz_gpu {

struct SharedDrawing {
    u32 cells[kCells];
    float prefix[3][256];
    u8 levels[3][256];
    Line lines[3];
    hz::Step<float> steps[HZ_MAX_STEPS];
    hz::Step<double> exact_steps[HZ_MAX_STEPS];
    int middle, suffix, count, in_lines, in_float;
    /* Lines, then saturation above 0 alone, then the curve: as the default filters are. */
    int usual;
    float saturation;
};

__device__ __forceinline__ u32 byte_of(const u32 (&words)[3], int i) {
    return words[i / 4] >> (8 * (i % 4)) & 255;
}

/* The same as a float: the byte becomes the last one of 2^23's mantissa. */
__device__ __forceinline__ float float_of_byte(const u32 (&words)[3], int i) {
    return __uint_as_float(__byte_perm(words[i / 4], 0x4b000000u, 0x7540 | i % 4)) - 8388608.0f;
}

/* Byte 3*k + position holds this channel. */
template <bool reversed>
__device__ __forceinline__ constexpr int channel_at(int position) {
    return reversed ? 2 - position : position;
}

template <bool reversed>
__device__ __forceinline__ void through_lines(const SharedDrawing& drawing, const u32 (&words)[3],
                                              Pixels<float, 4>& pixels) {
    float* const planes[3] = {pixels.r, pixels.g, pixels.b};
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        const Line line = drawing.lines[c];
#pragma unroll
        for (int k = 0; k < 4; ++k)
            planes[c][k] = on_line(line, float_of_byte(words, 3 * k + channel_at<reversed>(c)));
    }
}

template <bool reversed>
__device__ __forceinline__ void through_prefix(const SharedDrawing& drawing, const u32 (&words)[3],
                                               Pixels<float, 4>& pixels) {
    if (drawing.in_lines) {
        through_lines<reversed>(drawing, words, pixels);
        return;
    }
    float* const planes[3] = {pixels.r, pixels.g, pixels.b};
#pragma unroll
    for (int c = 0; c < 3; ++c)
#pragma unroll
        for (int k = 0; k < 4; ++k)
            planes[c][k] = drawing.prefix[c][byte_of(words, 3 * k + channel_at<reversed>(c))];
}

/* One byte (kLevelByte) of each of four words. */
__device__ __forceinline__ u32 packed_levels(u32 a, u32 b, u32 c, u32 d) {
    constexpr u32 both = kLevelByte | (4 + kLevelByte) << 4;
    return __byte_perm(__byte_perm(a, b, both), __byte_perm(c, d, both), 0x5410);
}

/* A lane's four pixels of a group: where they are, and which of them the mask leaves out (bits
   0..3) or covers in part (bits 4..7). */
struct Four {
    const Mask& mask;
    const PackedStrip& place;
    int slot;
    u32 kinds;

    __device__ __forceinline__ bool is_out(int k) const { return kinds >> k & 1; }
    __device__ __forceinline__ bool is_soft() const { return kinds >> 4; }
    /* Of a pixel of the row. The compiler must not work out the mask's 64-bit addresses ahead of
       the branches that need them: where the mask is full, that would be a sixth of the work. */
    template <typename T>
    __device__ __forceinline__ T coverage(int k) const {
        return coverage_of<T>(mask, place.strip.row, place.column_of(opaque(slot)) + k);
    }
};

__device__ __forceinline__ u32 kinds_of(const Four& four) {
    const int valid = four.place.valid_at(four.slot);
    u32 kinds = 0;
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
        const float m = k < valid ? four.coverage<float>(k) : 0.0f;
        kinds |= (m == 0.0f ? 1u : m == 1.0f ? 0u : 16u) << k;
    }
    return kinds;
}

/* By the formulas, where the curve is steep or the mask soft. */
template <bool reversed>
__device__ __forceinline__ void blend_four(const SharedDrawing& drawing, const u32 (&source)[3],
                                           const Four& four, Pixels<float, 4>& pixels,
                                           u32 (&words)[3]) {
    run_steps<false>(drawing.steps, drawing.suffix, drawing.count, pixels);
    const float* const planes[3] = {pixels.r, pixels.g, pixels.b};
    words[0] = words[1] = words[2] = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const float m = four.kinds >> (4 + k) & 1 ? four.coverage<float>(k) : 1.0f;
        const float rest = 1.0f - m;
#pragma unroll
        for (int position = 0; position < 3; ++position) {
            const int i = 3 * k + position;
            const float value = planes[channel_at<reversed>(position)][k];
            const float blended = m * value + rest * unit_value(u8(byte_of(source, i)), 0.0f);
            words[i / 4] |= u32(stored_value<u8>(blended)) << (8 * (i % 4));
        }
    }
}

/* Whether the curve is steep at any value. */
template <bool reversed>
__device__ __forceinline__ bool through_curve(const SharedDrawing& drawing,
                                              const Pixels<float, 4>& pixels, u32 (&words)[3]) {
    const float* const planes[3] = {pixels.r, pixels.g, pixels.b};
    u32 met = 0;
#pragma unroll
    for (int w = 0; w < 3; ++w) {
        u32 found[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int byte = 4 * w + i;
            found[i] = look_up(drawing.cells, planes[channel_at<reversed>(byte % 3)][byte / 3]);
            met |= found[i];
        }
        words[w] = packed_levels(found[0], found[1], found[2], found[3]);
    }
    return (met & kSteep) != 0;
}

template <bool reversed>
__device__ __forceinline__ void through_levels(const SharedDrawing& drawing, const u32 (&source)[3],
                                               u32 (&words)[3]) {
#pragma unroll
    for (int w = 0; w < 3; ++w) {
        words[w] = 0;
#pragma unroll
        for (int i = 0; i < 4; ++i)
            words[w] |=
                u32(drawing
                        .levels[channel_at<reversed>((4 * w + i) % 3)][source[w] >> (8 * i) & 255])
                << (8 * i);
    }
}

/* Where the mask is 0 the source's bytes stay. */
__device__ __forceinline__ void keep_uncovered(const Four& four, const u32 (&source)[3],
                                               u32 (&words)[3]) {
    u32 keep[3] = {0, 0, 0};
#pragma unroll
    for (int i = 0; i < 12; ++i)
        if (four.is_out(i / 3)) keep[i / 4] |= 255u << (8 * (i % 4));
#pragma unroll
    for (int w = 0; w < 3; ++w) words[w] = (source[w] & keep[w]) | (words[w] & ~keep[w]);
}

/* Draw a lane's four pixels in shared memory. */
template <bool reversed>
__device__ __forceinline__ void draw_four(const SharedDrawing& drawing, const Four& four,
                                          u32* staged) {
    const u32 source[3] = {staged[0], staged[1], staged[2]};
    u32 words[3];
    if (drawing.middle == drawing.count && !four.is_soft()) {
        through_levels<reversed>(drawing, source, words);
    } else {
        Pixels<float, 4> pixels;
        through_prefix<reversed>(drawing, source, pixels);
        run_steps<false>(drawing.steps, drawing.middle, drawing.suffix, pixels);
        if (four.is_soft() || through_curve<reversed>(drawing, pixels, words))
            blend_four<reversed>(drawing, source, four, pixels, words);
    }
    if (four.kinds) keep_uncovered(four, source, words);
#pragma unroll
    for (int w = 0; w < 3; ++w) staged[w] = words[w];
}

/* The same in double, pixel by pixel. */
template <bool reversed>
__device__ __forceinline__ void draw_four_exactly(const SharedDrawing& drawing,
                                                  const Drawing& tables, const Four& four,
                                                  u8* staged) {
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
        if (four.is_out(k)) continue;
        u8* const bytes = staged + 3 * k;
        Pixels<double, 1> pixel;
        double* const values[3] = {pixel.r, pixel.g, pixel.b};
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            const int c = channel_at<reversed>(i);
            *values[c] = tables.exact_prefix[c][bytes[i]];
        }
        run_steps<false>(drawing.exact_steps, drawing.middle, drawing.count, pixel);
        const double m = four.coverage<double>(k);
#pragma unroll
        for (int i = 0; i < 3; ++i)
            bytes[i] = stored_value<u8>(m * *values[channel_at<reversed>(i)] +
                                        (1.0 - m) * unit_value(bytes[i], 0.0));
    }
}

/* The groups of a strip that are covered in full, by the usual program: what draw_four does, without
   a question for each group. Returns those that are drawn: where the curve is steep nothing is. */
template <bool reversed, int size>
__device__ __forceinline__ u32 draw_full_groups(const SharedDrawing& drawing, u32 full,
                                                u8* staged) {
    u32 drawn = 0;
#pragma unroll 1
    for (int group = 0; group < kGroups; ++group) {
        if (!(full >> group & 1)) continue;
        /* Of 4 bytes: registers are short, so that the lines are not kept. */
        if constexpr (size == 4) asm volatile("" ::: "memory");
        u32* const place =
            reinterpret_cast<u32*>(staged + size * (group * kGroup)) + size * lane_index();
        const u32 source[3] = {place[0], place[1], place[2]};
        Pixels<float, 4> pixels;
        through_lines<reversed>(drawing, source, pixels);
        const float constants[HZ_CONSTANTS] = {1.0f, drawing.saturation, 0.0f};
#pragma unroll
        for (int k = 0; k < 4; ++k)
            hz::Operation<HZ_OP_SATURATION>::apply(constants, pixels.r[k], pixels.g[k],
                                                   pixels.b[k]);
        u32 words[3];
        if (through_curve<reversed>(drawing, pixels, words)) continue;
#pragma unroll
        for (int w = 0; w < 3; ++w) place[w] = words[w];
        drawn |= 1u << group;
    }
    return drawn;
}

/* The groups of a strip that the mask does not leave out. */
template <bool reversed, int size>
__device__ __forceinline__ void draw_groups(const DrawParameters& p, const SharedDrawing& drawing,
                                            const PackedStrip& place, const Seen& seen,
                                            u8* staged) {
    u32 left = seen.any;
    /* Not where lanes differ: they would wait for each other, once here and once below. */
    if (drawing.usual && !__any_sync(kAllLanes, int(seen.any & ~seen.full)))
        left &= ~draw_full_groups<reversed, size>(drawing, seen.full, staged);
#pragma unroll 1
    for (int group = 0; group <= kGroups; ++group) {
        if (!(left >> group & 1)) continue;
        const int slot = group * kGroup + 4 * lane_index();
        u8* const bytes = staged + size * slot; /* of 4 bytes, three words and the fourth bytes */
        Four four = {p.mask, place, slot, 0};
        if (!(seen.full >> group & 1)) four.kinds = kinds_of(four);
        if (drawing.in_float)
            draw_four<reversed>(drawing, four, reinterpret_cast<u32*>(bytes));
        else
            draw_four_exactly<reversed>(drawing, p.workspace->drawing, four, bytes);
    }
}

/* Bring a strip in, draw what the mask does not leave out, and bring it out. Out of place every
   pixel is read, so its loads do not wait for the mask's. */
template <bool reversed>
__device__ __forceinline__ void draw_threes(const DrawParameters& p, const SharedDrawing& drawing,
                                            const PackedStrip& place, bool nothing, u8* staged) {
    Chunks chunks;
    if (!p.in_place && is_whole(place)) chunks = load_chunks(place);
    Seen seen = {0, 0};
    if (!nothing) seen = look_at_strip(p.mask, place, false);
    if (p.in_place) {
        if (!__any_sync(kAllLanes, int(seen.any))) return;
        if (is_whole(place)) chunks = load_chunks(place);
    }
    stage_strip(place, chunks, staged);
    __syncwarp();
    draw_groups<reversed, 3>(p, drawing, place, seen, staged);
    __syncwarp();
    store_strip(place, staged);
    __syncwarp();
}

template <bool reversed>
__device__ __forceinline__ void draw_four_bytes(const DrawParameters& p,
                                                const SharedDrawing& drawing,
                                                const PackedStrip& place, bool nothing,
                                                u8* staged) {
    constexpr u32 all = (2u << kGroups) - 1;
    Seen seen = {0, 0};
    if (!nothing) seen = look_at_strip(p.mask, place, p.mask_within);
    load_fours(place, p.in_place ? seen.any : all, p.in_place, staged);
    draw_groups<reversed, 4>(p, drawing, place, seen, staged);
    /* Registers are short: the groups are worked out again, not kept. */
    store_fours(place, opaque(p.in_place) ? seen.any : all, staged);
}

__device__ __forceinline__ void load_drawing(const Drawing& drawing, SharedDrawing& shared) {
    const int index = int(threadIdx.x), threads = int(blockDim.x);
    for (int i = index; i < kCells; i += threads) shared.cells[i] = drawing.cells[i];
    for (int i = index; i < 3 * 256; i += threads) {
        (&shared.prefix[0][0])[i] = (&drawing.prefix[0][0])[i];
        (&shared.levels[0][0])[i] = (&drawing.levels[0][0])[i];
    }
    if (index < 3) shared.lines[index] = drawing.lines[index];
    if (index < HZ_MAX_STEPS) {
        shared.steps[index] = drawing.steps[index];
        shared.exact_steps[index] = drawing.exact_steps[index];
    }
    if (index == 0) {
        shared.middle = drawing.middle;
        shared.suffix = drawing.suffix;
        shared.count = drawing.count;
        shared.in_lines = drawing.in_lines;
        shared.in_float = drawing.in_float;
        const bool single = drawing.suffix == drawing.middle + 1;
        const hz::Step<float>& middle = drawing.steps[single ? drawing.middle : 0];
        shared.usual = single && drawing.in_float && drawing.in_lines &&
                       middle.operation == HZ_OP_SATURATION && middle.constants[0] > 0.0f;
        shared.saturation = middle.constants[1];
    }
    __syncthreads();
}

template <bool reversed, int size>
__device__ __forceinline__ void draw_bytes(const DrawParameters& p, SharedDrawing& shared,
                                           Staged<size>& staged) {
    const Drawing& drawing = p.workspace->drawing;
    const bool nothing = drawing.nothing;
    if (nothing && p.in_place) return;
    if (!nothing) load_drawing(drawing, shared);
    const int first_byte = reversed ? 2 : 0;
    for (u32 index = warp_of_grid(); index < p.strips.count; index += warps_of_grid()) {
        const u32 row = row_of(p.strips, index);
        PackedStrip place;
        place.source = p.image.data + row * p.image.row_stride - first_byte;
        place.target = p.out.data + row * p.out.row_stride - first_byte;
        const int head = pixels_before_alignment<size>(place.source);
        place.strip = strip_at(p.strips, index, row, head);
        const bool begins_row = place.strip.first == head;
        place.heads = !begins_row ? 0 : head < p.strips.columns ? head : int(p.strips.columns);
        const bool ends_row = place.strip.first + place.strip.count == p.strips.columns;
        place.whole =
            size == 3 ? place.strip.count / 16 * 16 : (place.strip.count - int(ends_row)) / 4 * 4;

        u8* const bytes = staged.of_warp[warp_of_block()];
        if constexpr (size == 3)
            draw_threes<reversed>(p, shared, place, nothing, bytes);
        else
            draw_four_bytes<reversed>(p, shared, place, nothing, bytes);
    }
}

}  // namespace hz_gpu
