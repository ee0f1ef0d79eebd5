/* A rising curve from [0,1] to levels as polynomials that fit the registers of AVX-512. */
#pragma once

#include <cstdint>

#include "cpu/drawing.h"

namespace hz_cpu {

/* Fit the curve that steps [first, count) make of single values, times `full`.

   A value v has the distance t = min(v, 1 - v) from the nearer end, where powers are steep. Its
   piece is one of kPieces / 2 halves of octaves of t, below v = 1/2 or from there on: on half an
   octave a power is smooth wherever it lies. A piece is a polynomial in t through the curve's
   values at Chebyshev's points, the ends included.

   `doubts` bounds, in levels, how far a piece lies from the curve of any value within
   `input_error` of t: found at samples, with a margin. */
void fit_pieces(const Steps& steps, int first, double full, double input_error,
                CurvePieces& pieces);

}  // namespace hz_cpu
