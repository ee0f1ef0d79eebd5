/* A program made ready to draw: constants instead of arguments, and how each pass evaluates it. */
#pragma once

#include <cstdint>

#include "harmonizer.h"
#include "hz_pixel.h"

namespace hz_cpu {

/* One operation with the constants that `prepare` of hz_pixel.h makes of its argument. */
struct Step {
    int operation;
    double constants[3];
    const double* table; /* of the curves; null for the others */
};

/* A run of steps; none at all if the whole program is identities. */
struct Steps {
    /* Steps [first, end) of a program. */
    Steps(const hz_program& program, int first, int end);
    Steps(const Steps&) = delete; /* a step may point to the table */

    int count = 0;
    Step list[HZ_MAX_STEPS];
    /* The program's curves, for both types that pixels are evaluated in. */
    double curve_table[HZ_CURVE_TABLE];
    float curve_table_float[HZ_CURVE_TABLE];
};

bool draws_nothing(const hz_program& program);

/* Whether evaluating steps [first, end) in float keeps the error below what rounding to 8 bits
   hides, given what error the values bring along. The other programs (powers near 0, gains in the
   hundreds) are evaluated in double. */
bool float_suffices(const Steps& steps, int first, int end, double error_before = 0);

constexpr int kPositionBits = 23;
constexpr int kCellShift = 12;
constexpr int kCells = (1 << (kPositionBits - kCellShift)) + 1;
constexpr uint32_t kSteep = 1u << 23;
constexpr uint32_t kBeginning = kSteep - 1;

/* Float rounding before the curve moves a value by so many positions at most; where that may carry
   it over the limit between two levels, the pixel is drawn again in double. */
constexpr uint32_t kDoubtPositions = 3;

/* A table that is slope * value + offset, clamped. */
struct TableLine {
    float slope, offset, low, high;
};

/* The curve by polynomials, for instruction sets that look up 32 floats in registers: see pieces.h.
   The first piece of either half begins at t = 0 and ends at 1.5 * 2^kPieceOctave. */
constexpr int kPieces = 32, kPieceDegree = 4, kPieceOctave = -9;
struct CurvePieces {
    alignas(64) float coefficients[kPieceDegree + 1][kPieces];
    alignas(64) float doubts[kPieces];
};

/* How an 8-bit picture is drawn: steps [0, middle) as one table a channel, steps [middle, suffix)
   on planes of pixels, steps [suffix, count) as one monotone curve from float to level. Every
   program has this form; [middle, suffix) is empty or begins with an operation that mixes the
   channels.

   The curve is exact to 2^-23 of its argument. The argument in units of 2^-23 is a position; its
   high bits are the index of a cell, one more than a power of two because of 1.0. A cell holds,
   from its high bits down: the level at its end (8 bits), whether the curve is steep here (kSteep:
   more than one level begins inside the cell or a neighbour), and the position at which its level
   begins (23 bits, 0 if the whole cell has one level). So level = end level - (position <
   beginning). Where the curve is steep, float pixels are too coarse, and the pixel is drawn again
   in double from the 8-bit source. Pieces take the place of cells where the kernels have them. */
struct ByteDrawing {
    int middle;
    int suffix;
    bool middle_in_float; /* whether float does for [middle, suffix) and what follows */
    bool all_in_float;    /* whether float suffices for [middle, count), for soft masks */
    bool prefix_in_lines; /* whether `lines` stand for the prefix in [middle, suffix) */
    TableLine lines[3];
    double prefix[3][256];
    float prefix_float[3][256];
    uint8_t levels[3][256]; /* the prefix rounded, for programs that are all prefix */
    uint32_t cells[kCells]; /* only where the kernels have no pieces */
    CurvePieces pieces;     /* only where they have */
};

/* Whether the value-scope steps at the end of a program for 16 bits and floats have pieces, which
   take their place where kPieceError bounds them. */
constexpr float kPieceError = 3e-6f;
bool make_pieces(const Steps& steps, bool in_float, int& suffix, CurvePieces& pieces);

/* How many leading steps have no pixel scope. */
int leading_channel_steps(const Steps& steps);

/* f(v/255) of steps [0, count) for every channel and value. */
void tabulate(const Steps& steps, int count, double (*table)[256]);

void make_byte_drawing(const Steps& steps, ByteDrawing& drawing);

}  // namespace hz_cpu
