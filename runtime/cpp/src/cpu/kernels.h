/* The loops over pixels, compiled once for each instruction set and chosen at run time. */
#pragma once

#include <cstdint>

#include "cpu/drawing.h"

namespace hz_cpu {

struct RenderJob {
    hz_image image;
    hz_image out;
    hz_mask mask; /* data is null for the whole image */
    const Steps* steps;
    const ByteDrawing* byte_drawing; /* null for other types than HZ_U8 */
    bool in_float;                   /* for other types than HZ_U8 */
    const CurvePieces* pieces;       /* for other types: steps [suffix, count), or null */
    int suffix;
    bool in_place;
};

/* A result's source values along one axis, [first, first + count), and their weights. */
struct Taps {
    int64_t first, count;
    const float* weights;
};

/* A 256x256 thumbnail of a picture under its mask, or under what the mask leaves. */
struct RegionJob {
    hz_image image;
    hz_mask mask;
    const Taps *rows, *columns;
    bool outside;
    float* out; /* three planes */
};

/* Of each channel: how many values lie above a limit, and the sum of the others. */
struct Sums {
    uint64_t above[3], upto[3];
};

struct Kernels {
    const char* name;
    bool in_pieces; /* whether render reads pieces of curves, and no cells */
    /* Add the rows' values to `sums`; false, and nothing done, unless pixels are packed RGB or
       BGR. */
    bool (*sum_values)(const hz_image& image, const uint8_t (&limits)[3], int64_t first,
                       int64_t end, Sums& sums);
    /* Add the rows' values to counts[channel][value]. */
    void (*count_values)(const hz_image& image, int64_t first, int64_t end,
                         uint64_t (*counts)[256]);
    /* Sums of the three channels over the rows, of the image as the steps leave it. */
    void (*sum_channels)(const hz_image& image, const Steps& steps, bool in_float, int64_t first,
                         int64_t end, double* sums);
    void (*render)(const RenderJob& job, int64_t first, int64_t end);
    /* Run value-scope steps [first, count) over single values in place. */
    void (*evaluate)(const Steps& steps, int first, double* values, int count);
    /* Set columns[x] to 1 where the row's mask is above 0; whether it is so anywhere. */
    bool (*mark_foreground)(const hz_mask& mask, int64_t row, uint8_t* columns);
    /* Make one row of the thumbnail. */
    void (*draw_region_row)(const RegionJob& job, int row);
};

/* The kernels in use. */
const Kernels& kernels();

/* Use the named kernels from now on, the best ones if null; false if they cannot run here. */
bool select_kernels(const char* name);

}  // namespace hz_cpu
