#include "cpu/pieces.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/kernels.h"

namespace hz_cpu {
namespace {

constexpr int kNodes = kPieceDegree + 1;
constexpr int kHalf = kPieces / 2;
constexpr int kSamples = 24;
constexpr double kPi = 3.14159265358979323846;
/* Between samples the error is a little larger; and a float of 8 bits before the point rounds by
   2^-17 at each of the last two sums. */
constexpr double kMargin = 1.25, kRounding = 3e-5;

/* Where the pieces begin, from t = 0 on: 0, then 1.5 and 2 times a power of two in turn. */
double beginning(int piece) {
    if (piece == 0) return 0;
    const double octave = std::ldexp(1.0, kPieceOctave + piece / 2);
    return piece % 2 ? 1.5 * octave : octave;
}

double value_at(int piece, double t) { return piece < kHalf ? t : 1 - t; }

/* The polynomial through the nodes, in powers of t. */
void interpolate(const double* t, const double* values, double* powers) {
    double differences[kNodes];
    std::copy(values, values + kNodes, differences);
    for (int order = 1; order < kNodes; ++order)
        for (int i = kNodes - 1; i >= order; --i)
            differences[i] = (differences[i] - differences[i - 1]) / (t[i] - t[i - order]);
    std::fill(powers, powers + kNodes, 0.0);
    for (int i = kNodes - 1; i >= 0; --i) {
        for (int k = kNodes - 1; k > 0; --k) powers[k] = powers[k - 1] - t[i] * powers[k];
        powers[0] = differences[i] - t[i] * powers[0];
    }
}

float evaluate(const CurvePieces& pieces, int piece, float t) {
    float value = pieces.coefficients[kPieceDegree][piece];
    for (int k = kPieceDegree - 1; k >= 0; --k)
        value = std::fma(value, t, pieces.coefficients[k][piece]);
    return value;
}

}  // namespace

void fit_pieces(const Steps& steps, int first, double full, double input_error,
                CurvePieces& pieces) {
    /* All values are evaluated together: of each piece the nodes, then the samples and what may
       have been meant by them. */
    constexpr int kOfPiece = kNodes + 2 * kSamples;
    double nodes[kPieces][kNodes], samples[kPieces][kSamples];
    std::vector<double> values;
    values.reserve(kPieces * kOfPiece);
    for (int piece = 0; piece < kPieces; ++piece) {
        const double low = beginning(piece % kHalf), high = beginning(piece % kHalf + 1);
        for (int i = 0; i < kNodes; ++i) {
            const double place = (1 - std::cos(kPi * i / kPieceDegree)) / 2;
            nodes[piece][i] = low + (high - low) * place;
            values.push_back(value_at(piece, nodes[piece][i]));
        }
        for (int i = 0; i < kSamples; ++i) {
            const double t = static_cast<float>(low + (high - low) * i / (kSamples - 1));
            samples[piece][i] = t;
            for (const double meant : {t - input_error, t + input_error})
                values.push_back(std::clamp(value_at(piece, meant), 0.0, 1.0));
        }
    }
    kernels().evaluate(steps, first, values.data(), static_cast<int>(values.size()));
    for (int piece = 0; piece < kPieces; ++piece) {
        double* const own = values.data() + piece * kOfPiece;
        std::transform(own, own + kOfPiece, own, [&](double value) { return value * full; });
        double powers[kNodes];
        interpolate(nodes[piece], own, powers);
        for (int k = 0; k < kNodes; ++k)
            pieces.coefficients[k][piece] = static_cast<float>(powers[k]);
        double error = 0;
        for (int i = 0; i < kSamples; ++i) {
            const double drawn = evaluate(pieces, piece, static_cast<float>(samples[piece][i]));
            for (int side = 0; side < 2; ++side)
                error = std::max(error, std::abs(drawn - own[kNodes + 2 * i + side]));
        }
        pieces.doubts[piece] = static_cast<float>(kMargin * error + kRounding * full / 255);
    }
}

}  // namespace hz_cpu
