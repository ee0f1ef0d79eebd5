/* Decoders' surfaces through the C++ interface, against a plain conversion and the CPU renderer. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "harmonizer_surface.hpp"
#include "on_device.h"

namespace {

using harmonizer::MaskView;
using harmonizer::Predictor;
using harmonizer::Program;
using harmonizer::Renderer;
using harmonizer::SurfaceView;

constexpr int kWidth = 322, kHeight = 51, kPitch = 336, kRows = (kHeight + 1) / 2;
constexpr double kRed = 0.2126, kBlue = 0.0722, kGreen = 1 - kRed - kBlue;

struct Surface {
    std::vector<uint8_t> luma, chroma;
};

Surface picture() {
    Surface made = {noise<uint8_t>(kPitch * kHeight, 1), noise<uint8_t>(kPitch * kRows, 2)};
    for (uint8_t& value : made.luma) value = static_cast<uint8_t>(60 + value / 2);
    for (uint8_t& value : made.chroma) value = static_cast<uint8_t>(112 + value / 8);
    return made;
}

/* BT.709, limited range; every pixel with the chroma of its block. */
std::vector<float> to_rgb(const Surface& from) {
    std::vector<float> rgb;
    for (int y = 0; y < kHeight; ++y)
        for (int x = 0; x < kWidth; ++x) {
            const size_t at = static_cast<size_t>(y / 2 * kPitch + x / 2 * 2);
            const double luma = (from.luma[static_cast<size_t>(y * kPitch + x)] - 16) / 219.0;
            const double cb = (from.chroma[at] - 128) / 224.0;
            const double cr = (from.chroma[at + 1] - 128) / 224.0;
            const double r = luma + 2 * (1 - kRed) * cr, b = luma + 2 * (1 - kBlue) * cb;
            for (const double value : {r, (luma - kRed * r - kBlue * b) / kGreen, b})
                rgb.push_back(static_cast<float>(std::clamp(value, 0.0, 1.0)));
        }
    return rgb;
}

void require_drawn(const Surface& got, const std::vector<float>& rgb) {
    double worst = 0;
    std::vector<double> sums(2 * kWidth * kRows);
    for (int y = 0; y < kHeight; ++y)
        for (int x = 0; x < kWidth; ++x) {
            const float* pixel = rgb.data() + 3 * (y * kWidth + x);
            const double luma = kRed * pixel[0] + kGreen * pixel[1] + kBlue * pixel[2];
            const double code = 16 + 219 * luma;
            worst = std::max(worst, std::abs(got.luma[static_cast<size_t>(y * kPitch + x)] - code));
            const int block = y / 2 * kWidth + x / 2 * 2;
            sums[static_cast<size_t>(block)] += (pixel[2] - luma) / (2 * (1 - kBlue));
            sums[static_cast<size_t>(block + 1)] += (pixel[0] - luma) / (2 * (1 - kRed));
        }
    for (int y = 0; y < kRows; ++y)
        for (int i = 0; i < kWidth; ++i) {
            const double share = 2 * y + 1 < kHeight ? 0.25 : 0.5;
            const double code = 128 + 224 * share * sums[static_cast<size_t>(y * kWidth + i)];
            worst =
                std::max(worst, std::abs(got.chroma[static_cast<size_t>(y * kPitch + i)] - code));
        }
    std::printf("worst code is off by %g\n", worst);
    require(worst <= 0.51, "the drawn codes");
}

void check_surfaces() {
    const Cuda cuda;
    Renderer renderer = Renderer::cuda(), cpu = Renderer::cpu();
    const Program look{{HZ_OP_TEMPERATURE, 0.2}, {HZ_OP_CONTRAST, -0.2}, {HZ_OP_SHADOW, 0.3}};
    const Surface source = picture();
    std::vector<float> rgb = to_rgb(source);
    const auto view = harmonizer::ImageView::rgb(rgb.data(), kWidth, kHeight);
    cpu.harmonize(view, MaskView(), view, look);

    const OnDevice<uint8_t> luma(cuda, source.luma), chroma(cuda, source.chroma);
    const auto surface =
        SurfaceView::nv12(luma.data(), chroma.data(), kWidth, kHeight, kPitch, HZ_BT709);
    const std::vector<uint8_t> nothing(kWidth * kHeight), everything(kWidth * kHeight, 255);
    const OnDevice<uint8_t> none(cuda, nothing), all(cuda, everything);
    harmonizer::enqueue(renderer, surface, MaskView::of(none.data(), kWidth, kHeight), surface,
                        look);
    renderer.synchronize();
    require(luma.fetch() == source.luma && chroma.fetch() == source.chroma, "empty mask");

    auto predictor = Predictor::function(
        renderer, {HZ_OP_TEMPERATURE, HZ_OP_CONTRAST, HZ_OP_SHADOW},
        [&](const float*, const float*, float* arguments, void* on) {
            static const float answers[] = {0.2f, -0.2f, 0.3f};
            cuda.call("cuMemcpyHtoDAsync_v2", reinterpret_cast<Cuda::Address>(arguments),
                      static_cast<const void*>(answers), sizeof answers, on);
        });
    const OnDevice<uint8_t> out_luma(cuda, source.luma), out_chroma(cuda, source.chroma);
    const auto out = SurfaceView::nv12(out_luma.data(), out_chroma.data(), kWidth, kHeight, kPitch);
    harmonizer::enqueue(renderer, surface, MaskView::of(all.data(), kWidth, kHeight), out,
                        predictor);
    renderer.synchronize();
    require_drawn({out_luma.fetch(), out_chroma.fetch()}, rgb);
    harmonizer::enqueue(renderer, surface, MaskView(), surface, look);
    renderer.synchronize();
    require_drawn({luma.fetch(), chroma.fetch()}, rgb);

    hz_surface changed = *surface.get();
    changed.matrix = 0;
    refuse(HZ_INVALID, "matrix", [&] {
        harmonizer::enqueue(renderer, SurfaceView::of(changed), MaskView(), surface, look);
    });
    for (const bool chroma_rows : {false, true}) {
        changed = *out.get();
        (chroma_rows ? changed.chroma_stride : changed.luma_stride) = kWidth - 2;
        refuse(HZ_INVALID, chroma_rows ? "chroma_stride of 320" : "luma_stride of 320", [&] {
            harmonizer::enqueue(renderer, surface, MaskView(), SurfaceView::of(changed), look);
        });
    }
    refuse(HZ_INVALID, "must be a CUDA renderer",
           [&] { harmonizer::enqueue(cpu, surface, MaskView(), surface, look); });
    changed = *surface.get();
    std::vector<uint8_t> host = source.luma;
    changed.luma = host.data();
    refuse(HZ_INVALID, "ordinary host memory", [&] {
        harmonizer::enqueue(renderer, SurfaceView::of(changed), MaskView(),
                            SurfaceView::of(changed), look);
    });
}

}  // namespace

int main() {
    try {
        check_surfaces();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
