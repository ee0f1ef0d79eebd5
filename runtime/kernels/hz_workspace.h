/* What the host's schedule and the kernels share: the parameters of each kernel and the workspace.

   Plain data, the same for g++, nvcc and NVRTC (which has no <stdint.h>). The first part mirrors
   harmonizer.h and harmonizer_cuda.h; schedule.cpp holds the layouts against each other. */
#ifndef HZ_WORKSPACE_H
#define HZ_WORKSPACE_H

#include "hz_pixel.h"

namespace hz_gpu {

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/* hz_type */
constexpr int kU8 = 0, kU16 = 1, kF32 = 2, kBool = 3, kF16 = 4;

/* hz_report and HZ_SEEN_* */
struct ReportStep {
    int operation;
    double argument;
    double statistics[3];
};
struct ReportCurves {
    int stages;
    float slopes[HZ_CURVE_STAGES * HZ_CURVE_NUMBERS];
};
struct Report {
    int count;
    ReportStep steps[HZ_MAX_STEPS];
    ReportCurves curves;
    u32 padding; /* hz_program ends on a multiple of 8 bytes */
    u32 seen, in_double;
};
constexpr u32 kSeenForeground = 1, kSeenThumbnail = 2, kSeenBackground = 4, kSeenNotFinite = 8;

/* A picture: red at data + y*row_stride + x*pixel_stride, and so on, as hz_image has it. */
struct Image {
    u8* data;
    i64 row_stride, pixel_stride, channel_stride;
};

/* A mask; data is null for the whole image. */
struct Mask {
    const u8* data;
    i64 row_stride, pixel_stride;
    int type, padding;
};

/* Work is dealt out to warps in strips: 512 pixels of one row, 16 a lane, whose bytes are three or
   four 16-byte accesses a lane. A picture without gaps between its rows counts as one row. */
constexpr int kStrip = 512;
struct Strips {
    i64 columns;
    u32 rows, per_row, count;
};

constexpr int kThumbnail = HZ_THUMBNAIL_SIZE;

constexpr int kMeasureThreads = 512, kPrepareThreads = 512, kReduceThreads = 256,
              kDrawThreads = 256;
constexpr int kBoxThreads = 256, kRegionThreads = kThumbnail; /* a thread for each result */

/* The histogram's counters of a block have 16 bits for each of 32 lanes; a lane counts at most 17
   pixels of a strip. */
constexpr u32 kMostStripsOfBlock = 65535 / 17;

/* Sums are added in an order that only the picture's size decides: as many blocks as have strips,
   at most this many, whatever the GPU. */
constexpr int kReduceBlocks = 512;

/* low + scale * clip(slope * byte + offset) */
struct Line {
    float slope, offset, scale, low;
};

/* The curve at the end of an 8-bit program as cells of 2^-11: see levels_of in draw_bytes.cuh.
   One more than a power of two, because of 1.0. */
constexpr int kCellBits = 11, kPositionBits = 23, kCellShift = kPositionBits - kCellBits;
constexpr int kCells = (1 << kCellBits) + 1;

/* A program ready to be drawn. */
struct Drawing {
    int nothing;  /* identities alone */
    int in_float; /* whether float keeps the error bounds of drawing.cuh; else double */
    int count;
    hz::Step<float> steps[HZ_MAX_STEPS];
    hz::Step<double> exact_steps[HZ_MAX_STEPS];
    /* What the step of curves points to. */
    float curve_table[HZ_CURVE_TABLE];
    double exact_curve_table[HZ_CURVE_TABLE];

    /* For 8 bits: steps [0, middle) as a table a channel, or lines; [middle, suffix) are
       evaluated; [suffix, count) are the curve. */
    int middle, suffix;
    int in_lines;
    Line lines[3];
    u32 cells[kCells];
    float prefix[3][256];
    double exact_prefix[3][256];
    u8 levels[3][256]; /* the prefix rounded */
};

/* Where the foreground lies; all 0 if it is not 2x2 pixels or more. */
struct Box {
    i64 top, left, height, width;
};

struct Workspace {
    Report report;
    /* Counted by MEASURE's blocks; all 0 between launches. */
    u32 pending_counts[3][256];
    u32 pending_seen, measured_blocks, reduced_blocks;
    /* The finished histogram of the last measured frame. */
    u32 counts[3][256];
    double partial_sums[kReduceBlocks][3]; /* of the last reduction's blocks */
    Drawing drawing;
    /* Of the search for the foreground's box; all 0 between launches. */
    u32 pending_bounds[4];
    u32 searched_blocks;
    Box box; /* of the last frame with region thumbnails */
};

struct MeasureParameters {
    Image image;
    Mask mask;
    i64 width, height;
    Strips strips;      /* of the image, for the histogram */
    Strips mask_strips; /* of the mask, where it is watched */
    Workspace* workspace;
    void *composite, *coverage; /* null: no thumbnail */
    int thumbnail_type;
    int counted; /* whether the histogram is wanted */
    int packed;  /* 3 or 4: bytes of a pixel that begins R, G, B or B, G, R; at multiples of 4
                     if 4. 0: another layout */
    int watched; /* whether the mask's values decide anything */
    int gapless; /* whether the mask's rows have no gaps between pixels */
};

struct RegionParameters {
    Image image;
    Mask mask;
    i64 width, height;
    Strips strips; /* of the mask, row by row */
    Workspace* workspace;
    void *foreground, *background;
    int thumbnail_type, padding;
};

struct PrepareParameters {
    Workspace* workspace;
    const float* arguments; /* null: those of the report */
    double strength, pixels;
    int count, operations[HZ_MAX_STEPS];
    int curve, stages;    /* which step has curves, and how many in turn; stages is 0 without */
    int bytes;            /* whether the picture has 8 bits */
    int begins, finishes; /* first and last of a frame's launches that prepare */
    int from_histogram;   /* whether statistics before the first operation that mixes channels are
                             taken from the histogram */
    int statistics_given;
    int watched; /* whether MEASURE has watched the mask */
};

struct ReduceParameters {
    Image image;
    Strips strips;
    Workspace* workspace;
    double pixels;
    int step, padding;
};

struct DrawParameters {
    Image image, out;
    Mask mask;
    Strips strips;
    Workspace* workspace;
    int in_place;
    int mask_within; /* whether the mask is the fourth byte of the image's packed pixels */
};

}  // namespace hz_gpu

#endif
