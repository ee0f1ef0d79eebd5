#include "cpu/drawing.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/pieces.h"
#include "hz_accuracy.h"
#include "hz_pixel.h"

namespace hz_cpu {
namespace {

constexpr int kScopes[] = HZ_OP_SCOPES;

/* 255e-6 of all 8-bit values round the other way at most. The powers of hz_pixel.h err no more
   than other operations. */
constexpr hz::ErrorBudget kBudget = {hz::kFloatRounding, 2e-5, 1e-6};

/* Whether a rising table is a line between two flat ends, as gains, contrast and their clips make
   it; vector arithmetic then replaces the look-ups. */
bool make_table_line(const double (&table)[256], TableLine& line) {
    int low = 0, high = 255;
    while (low < 255 && table[low + 1] == table[0]) ++low;
    while (high > 0 && table[high - 1] == table[255]) --high;
    /* The clips may have bent the first and the last piece. */
    const int first = low + 1, last = high - 1;
    if (last - first < 1) return false;
    const double slope = (table[last] - table[first]) / (last - first);
    line = {static_cast<float>(slope), static_cast<float>(table[first] - slope * first),
            static_cast<float>(table[0]), static_cast<float>(table[255])};
    for (int value = 0; value < 256; ++value) {
        const float on_line = std::fma(line.slope, static_cast<float>(value), line.offset);
        const float clamped = std::min(std::max(on_line, line.low), line.high);
        if (!(std::fabs(double{clamped} - table[value]) <= hz::kLineError)) return false;
    }
    return true;
}

int scope(const Step& step) { return kScopes[step.operation]; }

/* Where the steps of value scope at a program's end begin. */
int trailing_value_steps(const Steps& steps, int first) {
    int suffix = steps.count;
    while (suffix > first && scope(steps.list[suffix - 1]) == HZ_SCOPE_VALUE) --suffix;
    return suffix;
}

/* Fill the cells from the 255 positions at which a level begins, which are bisected together. */
void make_cells(const Steps& steps, int first, uint32_t* cells) {
    constexpr uint32_t kEnd = 1u << kPositionBits, kCell = 1u << kCellShift;
    constexpr int kLevels = 256;
    uint32_t low[kLevels] = {}, beginning[kLevels]; /* kEnd + 1: the level is never reached */
    std::fill(beginning, beginning + kLevels, kEnd + 1);
    double values[kLevels];
    for (int round = 0; round <= kPositionBits; ++round) {
        for (int i = 1; i < kLevels; ++i)
            values[i] = (low[i] + (beginning[i] - low[i]) / 2) / double(kEnd);
        kernels().evaluate(steps, first, values + 1, kLevels - 1);
        for (int i = 1; i < kLevels; ++i) {
            if (low[i] == beginning[i]) continue;
            const uint32_t position = low[i] + (beginning[i] - low[i]) / 2;
            if (values[i] * 255 + 0.5 >= i)
                beginning[i] = position;
            else
                low[i] = position + 1;
        }
    }
    int level = 0;
    bool steep_before = false;
    for (uint32_t cell = 0; cell < uint32_t(kCells); ++cell) {
        const uint32_t begin = cell * kCell, end = std::min(begin + kCell, kEnd + 1);
        while (level < kLevels - 1 && beginning[level + 1] <= begin) ++level;
        const int before = level;
        while (level < kLevels - 1 && beginning[level + 1] < end) ++level;
        const bool whole = level == before, steep = level > before + 1;
        /* Position 0 must not seem to lie near a beginning that the first cell lacks. */
        cells[cell] = whole && cell == 0 ? uint32_t(level + 1) << 24 | 2 * kCell
                                         : uint32_t(level) << 24 | (whole ? 0 : beginning[level]);
        /* Rounding may move a value from a steep cell into the next one, as from just below 1 to
           1: both neighbours count as steep too. */
        if (steep || steep_before) cells[cell] |= kSteep;
        if (steep && cell > 0) cells[cell - 1] |= kSteep;
        steep_before = steep;
    }
}

}  // namespace

bool draws_nothing(const hz_program& program) {
    return std::all_of(program.steps, program.steps + program.count, [&](const hz_step& step) {
        if (step.operation != HZ_OP_PIECEWISE_CURVE)
            return hz::is_identity(step.operation, step.argument);
        const float* slopes = program.curves.slopes[0][0];
        return std::all_of(slopes, slopes + program.curves.stages * HZ_CURVE_NUMBERS,
                           [](float slope) { return slope == 1; });
    });
}

Steps::Steps(const hz_program& program, int first, int end) {
    if (draws_nothing(program)) return;
    for (int i = first; i < end; ++i) {
        const hz_step& step = program.steps[i];
        hz::Step<double> prepared;
        hz::prepare_step(step.operation, step.argument, step.statistics, prepared);
        Step& target = list[count++];
        target.operation = prepared.operation;
        target.table = nullptr;
        static_assert(sizeof target.constants == sizeof prepared.constants);
        std::copy(prepared.constants, prepared.constants + HZ_CONSTANTS, target.constants);
        if (step.operation != HZ_OP_PIECEWISE_CURVE) continue;
        const int curves = 3 * program.curves.stages;
        const float* slopes = program.curves.slopes[0][0];
        curve_table[0] = program.curves.stages;
        for (int curve = 0; curve < curves; ++curve)
            hz::prepare_curve(slopes + curve * HZ_CURVE_KNOTS,
                              curve_table + 1 + curve * 2 * HZ_CURVE_KNOTS);
        std::transform(curve_table, curve_table + 1 + curves * 2 * HZ_CURVE_KNOTS,
                       curve_table_float, [](double number) { return static_cast<float>(number); });
        target.table = curve_table;
    }
}

bool float_suffices(const Steps& steps, int first, int end, double error_before) {
    return hz::float_suffices(steps.list, first, end, kBudget, error_before);
}

int leading_channel_steps(const Steps& steps) {
    int count = 0;
    while (count < steps.count && scope(steps.list[count]) != HZ_SCOPE_PIXEL) ++count;
    return count;
}

void tabulate(const Steps& steps, int count, double (*table)[256]) {
    for (int value = 0; value < 256; ++value) {
        double pixel[3] = {value / 255.0, value / 255.0, value / 255.0};
        for (int i = 0; i < count; ++i) {
            hz::Step<double> step;
            step.operation = steps.list[i].operation;
            step.table = steps.list[i].table;
            std::copy(steps.list[i].constants, steps.list[i].constants + HZ_CONSTANTS,
                      step.constants);
            hz::apply_step(step, pixel[0], pixel[1], pixel[2]);
        }
        for (int c = 0; c < 3; ++c) table[c][value] = pixel[c];
    }
}

bool make_pieces(const Steps& steps, bool in_float, int& suffix, CurvePieces& pieces) {
    suffix = trailing_value_steps(steps, 0);
    /* What a picture brings may lie outside [0, 1]; what a step leaves does not. */
    if (!kernels().in_pieces || suffix == 0 || suffix == steps.count ||
        !float_suffices(steps, 0, suffix))
        return false;
    fit_pieces(steps, suffix, 1, in_float ? 0 : kBudget.between, pieces);
    return true;
}

void make_byte_drawing(const Steps& steps, ByteDrawing& drawing) {
    drawing.middle = leading_channel_steps(steps);
    drawing.suffix = trailing_value_steps(steps, drawing.middle);
    drawing.middle_in_float = float_suffices(steps, drawing.middle, drawing.suffix);
    drawing.all_in_float = float_suffices(steps, drawing.middle, steps.count);
    tabulate(steps, drawing.middle, drawing.prefix);
    drawing.prefix_in_lines = float_suffices(steps, drawing.middle, drawing.suffix, hz::kLineError);
    for (int c = 0; c < 3; ++c)
        drawing.prefix_in_lines =
            drawing.prefix_in_lines && make_table_line(drawing.prefix[c], drawing.lines[c]);
    for (int c = 0; c < 3; ++c)
        for (int value = 0; value < 256; ++value) {
            drawing.prefix_float[c][value] = static_cast<float>(drawing.prefix[c][value]);
            drawing.levels[c][value] = static_cast<uint8_t>(drawing.prefix[c][value] * 255 + 0.5);
        }
    if (drawing.suffix == steps.count) return;
    if (kernels().in_pieces) {
        fit_pieces(steps, drawing.suffix, 255, kDoubtPositions / double(1 << kPositionBits),
                   drawing.pieces);
        /* Where the curve's end is steep, what lies there has to be known in double. */
        const float* const doubts = drawing.pieces.doubts;
        constexpr float kSteepEnd = 0.25f;
        if (std::max(doubts[0], doubts[kPieces / 2]) > kSteepEnd) drawing.middle_in_float = false;
    } else {
        make_cells(steps, drawing.suffix, drawing.cells);
    }
}

}  // namespace hz_cpu
