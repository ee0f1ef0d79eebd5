#include "api/renderer.h"

namespace hz_api {
namespace {

constexpr double kMinima[] = HZ_OP_MINIMA, kMaxima[] = HZ_OP_MAXIMA,
                 kIdentities[] = HZ_OP_IDENTITIES;

}  // namespace

void scale_arguments(hz_program& program, double strength) {
    for (int i = 0; i < program.count; ++i) {
        hz_step& step = program.steps[i];
        const auto scale = [&](double value) {
            const double identity = kIdentities[step.operation];
            const double scaled = identity + strength * (value - identity);
            const double above =
                scaled > kMinima[step.operation] ? scaled : kMinima[step.operation];
            return above < kMaxima[step.operation] ? above : kMaxima[step.operation];
        };
        if (step.operation != HZ_OP_PIECEWISE_CURVE) {
            step.argument = scale(step.argument);
            continue;
        }
        float* const slopes = program.curves.slopes[0][0];
        for (int k = 0; k < program.curves.stages * hz_predictor::kCurveNumbers; ++k)
            slopes[k] = static_cast<float>(scale(slopes[k]));
    }
}

}  // namespace hz_api
