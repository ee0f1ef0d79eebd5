/* The CUDA renderer as an application uses it; runs on a GPU and on the emulated driver.

   consume_cuda compare   the CPU's pictures, measurements and thumbnails, through host memory
   consume_cuda device    pictures in device memory, predictors on the caller's stream
   consume_cuda threads   several renderers and one shared
   consume_cuda errors    what is refused, and that the renderer lives on
   consume_cuda broken    a kernel that fails on the device */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "harmonizer_cuda.h"
#include "on_device.h"

namespace {

using harmonizer::ConstImageView;
using harmonizer::Error;
using harmonizer::ImageView;
using harmonizer::MaskView;
using harmonizer::Predictor;
using harmonizer::Program;
using harmonizer::Renderer;

constexpr int64_t kWidth = 333, kHeight = 217, kPixels = kWidth * kHeight;

std::vector<uint8_t> soft_mask() {
    std::vector<uint8_t> mask = noise<uint8_t>(kPixels, 5);
    std::fill_n(mask.begin(), kPixels / 3, uint8_t{0});
    std::fill_n(mask.begin() + kPixels / 3, kPixels / 3, uint8_t{255});
    return mask;
}

const Program kLook{{HZ_OP_TEMPERATURE, -0.3}, {HZ_OP_BRIGHTNESS, 0.1}, {HZ_OP_CONTRAST, 0.25},
                    {HZ_OP_SATURATION, -0.4},  {HZ_OP_HIGHLIGHT, 0.3},  {HZ_OP_SHADOW, 0.2}};

/* RENDER_U8_LEVELS, RENDER_U8_EQUAL and RENDER_U16 of export/tolerances.py: 8-bit values that lie
   at the limit between two levels may round either way; 16-bit and float differ by what float
   arithmetic leaves. */
template <typename T>
void require_alike(const std::vector<T>& got, const std::vector<T>& wanted, const char* what) {
    const double scale = std::is_same_v<T, float> ? 1 : std::numeric_limits<T>::max();
    double worst = 0;
    size_t differing = 0;
    for (size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(double{1} * got[i] - wanted[i]));
        differing += got[i] != wanted[i];
    }
    std::printf("%s: %zu of %zu values differ, worst %g\n", what, differing, got.size(), worst);
    const bool bytes = sizeof(T) == 1;
    require(bytes ? worst <= 1 && differing * 1000 <= got.size() : worst / scale <= 4e-5, what);
}

template <typename T>
void compare(Renderer& cuda, Renderer& cpu, const char* name) {
    const std::vector<T> source = noise<T>(3 * kPixels, 1);
    const std::vector<uint8_t> mask = soft_mask();
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    const ConstImageView view = ConstImageView::rgb(source.data(), kWidth, kHeight);
    std::vector<T> wanted(source.size()), got(source.size());
    const ImageView wanted_at = ImageView::rgb(wanted.data(), kWidth, kHeight),
                    got_at = ImageView::rgb(got.data(), kWidth, kHeight);

    const Program expected = cpu.harmonize(view, where, wanted_at, kLook);
    const Program drawn = cuda.harmonize(view, where, got_at, kLook);
    require_alike(got, wanted, name);
    Program measured = kLook;
    cuda.measure(view, measured);
    require(!std::memcmp(measured.get(), drawn.get(), sizeof(hz_program)), "measured and drawn");
    for (int i = 0; i < drawn.size(); ++i) {
        const hz_step &a = drawn.begin()[i], &b = expected.begin()[i];
        require(a.argument == b.argument && a.operation == b.operation, "arguments");
        for (int c = 0; c < 3; ++c)
            require(std::abs(a.statistics[c] - b.statistics[c]) <= 1e-6, "statistics");
    }
    const std::vector<T> once = got;
    std::fill(got.begin(), got.end(), T{});
    cuda.render(view, where, drawn, got_at);
    require(got == once, "render with given statistics");
    got = source;
    cuda.harmonize(got_at, where, got_at, kLook);
    require(got == once, "in place");
    cuda.harmonize(view, MaskView(), got_at, kLook, 0.5);
    cpu.harmonize(view, MaskView(), wanted_at, kLook, 0.5);
    require_alike(got, wanted, "whole image, half strength");

    const auto thumbnail = cuda.thumbnail(view, where), same = cpu.thumbnail(view, where);
    float worst = 0;
    for (size_t i = 0; i < same.composite.size(); ++i)
        worst = std::max(worst, std::abs(thumbnail.composite[i] - same.composite[i]));
    for (size_t i = 0; i < same.coverage.size(); ++i)
        worst = std::max(worst, std::abs(thumbnail.coverage[i] - same.coverage[i]));
    std::printf("%s: thumbnails differ by %g\n", name, double{worst});
    require(worst <= 1e-6f, "thumbnail");
    const auto regions = cuda.region_thumbnails(view, where),
               wished = cpu.region_thumbnails(view, where);
    for (size_t i = 0; i < wished.foreground.size(); ++i) {
        worst = std::max(worst, std::abs(regions.foreground[i] - wished.foreground[i]));
        worst = std::max(worst, std::abs(regions.background[i] - wished.background[i]));
    }
    require(worst <= 2e-6f, "region thumbnails");
}

void check_large(Renderer& cuda, Renderer& cpu) {
    const int64_t width = 2001, height = 1503; /* several chunks each way */
    std::vector<uint8_t> source = noise<uint8_t>(static_cast<size_t>(3 * width * height), 4);
    std::vector<uint8_t> other = source;
    const ImageView view = ImageView::rgb(source.data(), width, height),
                    twin = ImageView::planar(other.data(), width, height);
    for (size_t i = 0; i < other.size() / 3; ++i)
        for (size_t c = 0; c < 3; ++c) other[c * other.size() / 3 + i] = source[3 * i + c];
    const Program look{{HZ_OP_TEMPERATURE, 0.2}, {HZ_OP_CONTRAST, -0.1}};
    cpu.harmonize(view, MaskView(), view, look);
    cuda.harmonize(twin, MaskView(), twin, look);
    std::vector<uint8_t> back(source.size());
    for (size_t i = 0; i < other.size() / 3; ++i)
        for (size_t c = 0; c < 3; ++c) back[3 * i + c] = other[c * other.size() / 3 + i];
    require_alike(back, source, "large planar picture");
}

void check_device() {
    const Cuda cuda;
    void* stream = nullptr;
    cuda.call("cuStreamCreate", &stream, 1u);
    const std::vector<uint8_t> source = noise<uint8_t>(3 * kPixels, 1), mask = soft_mask();
    std::vector<uint8_t> wanted(source.size());
    Renderer cpu = Renderer::cpu();
    {
        harmonizer::CudaOptions options;
        options.stream = stream;
        Renderer renderer = Renderer::cuda(options);
        const OnDevice<uint8_t> image(cuda, source), out(cuda, source), cover(cuda, mask);
        const ImageView at = ImageView::rgb(image.data(), kWidth, kHeight),
                        into = ImageView::rgb(out.data(), kWidth, kHeight);
        const MaskView where = MaskView::of(cover.data(), kWidth, kHeight);
        const ConstImageView on_host = ConstImageView::rgb(source.data(), kWidth, kHeight);
        const MaskView mask_on_host = MaskView::of(mask.data(), kWidth, kHeight);
        cpu.harmonize(on_host, mask_on_host, ImageView::rgb(wanted.data(), kWidth, kHeight), kLook);

        renderer.enqueue(at, where, into, kLook);
        const Program drawn = renderer.last_drawn();
        require(drawn.size() == kLook.size() && drawn.begin()->argument == -0.3, "last drawn");
        require_alike(out.fetch(), wanted, "device to device");
        require(image.fetch() == source, "the source stays");

        static float answers[6];
        Predictor predictor = Predictor::function(
            renderer,
            {HZ_OP_TEMPERATURE, HZ_OP_BRIGHTNESS, HZ_OP_CONTRAST, HZ_OP_SATURATION, HZ_OP_HIGHLIGHT,
             HZ_OP_SHADOW},
            [&](const float*, const float*, float* arguments, void* on) {
                require(on == stream, "the caller's stream");
                for (int i = 0; i < 6; ++i)
                    answers[i] = static_cast<float>(kLook.begin()[i].argument);
                cuda.call("cuMemcpyHtoDAsync_v2", reinterpret_cast<Cuda::Address>(arguments),
                          static_cast<const void*>(answers), sizeof answers, on);
            });
        const auto answer = [&](const float*, const float*, float* arguments, void*) {
            for (int i = 0; i < 6; ++i)
                arguments[i] = static_cast<float>(kLook.begin()[i].argument);
        };
        Predictor host_predictor = Predictor::function(cpu, {0, 1, 2, 3, 4, 5}, answer);
        const Program expected =
            cpu.harmonize(on_host, mask_on_host, ImageView::rgb(wanted.data(), kWidth, kHeight),
                          host_predictor, 0.75);
        for (int frame = 0; frame < 3; ++frame) renderer.enqueue(at, where, into, predictor, 0.75);
        const Program predicted = renderer.last_drawn();
        for (int i = 0; i < 6; ++i)
            require(predicted.begin()[i].argument == expected.begin()[i].argument, "predicted");
        require_alike(out.fetch(), wanted, "predicted on the device");

        std::vector<uint8_t> host = source;
        const ImageView host_at = ImageView::rgb(host.data(), kWidth, kHeight);
        renderer.harmonize(host_at, mask_on_host, host_at, predictor, 0.75);
        require_alike(host, wanted, "predicted through host memory");

        /* The phases by hand, in place. */
        const OnDevice<float> arguments(cuda, std::vector<float>(HZ_MAX_STEPS, 0.25f));
        hz_frame frame = {};
        frame.image = frame.out = *at.get();
        frame.mask = *where.get();
        frame.arguments = arguments.data();
        frame.strength = 1;
        frame.count = 1;
        frame.operations[0] = HZ_OP_SHADOW;
        require(!hz_renderer_enqueue_frame(renderer.get(), &frame, HZ_PHASE_MEASURE),
                hz_last_error());
        require(!hz_renderer_enqueue_frame(renderer.get(), &frame, HZ_PHASE_DRAW), hz_last_error());
        renderer.synchronize();
        cpu.harmonize(on_host, mask_on_host, ImageView::rgb(wanted.data(), kWidth, kHeight),
                      Program{{HZ_OP_SHADOW, 0.25}});
        require_alike(image.fetch(), wanted, "phases by hand");
        frame.count = HZ_MAX_STEPS + 1;
        require(hz_renderer_enqueue_frame(renderer.get(), &frame, 3) == HZ_INVALID, "count");
    }
    cuda.call("cuStreamDestroy_v2", stream);
}

void check_errors(const std::string& folder) {
    const Cuda cuda;
    const std::vector<uint8_t> mask = soft_mask();
    std::vector<uint8_t> picture = noise<uint8_t>(3 * kPixels, 1);
    const std::vector<uint8_t> before = picture;
    const ImageView view = ImageView::rgb(picture.data(), kWidth, kHeight);
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    Renderer renderer = Renderer::cuda();

    harmonizer::CudaOptions options;
    options.device = 7;
    refuse(HZ_INVALID, "`device` must be", [&] { Renderer::cuda(options); });
    options.device = 0;
    options.kernels = folder + "/none.fatbin";
    refuse(HZ_INVALID, "cannot be read", [&] { Renderer::cuda(options); });
    options.kernels_image.assign(100, 'x');
    refuse(HZ_INVALID, "must not both be given", [&] { Renderer::cuda(options); });
    options.kernels.clear();
    refuse(HZ_INVALID, "must be a fat binary", [&] { Renderer::cuda(options); });
    std::ifstream file(folder + "/hz_kernels.fatbin", std::ios::binary);
    options.kernels_image.assign(std::istreambuf_iterator<char>(file), {});
    Renderer from_memory = Renderer::cuda(options);
    from_memory.harmonize(view, where, view, Program{});

    const OnDevice<uint8_t> image(cuda, picture), cover(cuda, mask);
    const ImageView there = ImageView::rgb(image.data(), kWidth, kHeight);
    const MaskView covers = MaskView::of(cover.data(), kWidth, kHeight);
    for (int i = 0; i < 3; ++i)
        refuse(HZ_INVALID, "Call hz_renderer_enqueue", [&] {
            renderer.harmonize(i == 0 ? there : view, i == 1 ? covers : where,
                               i == 2 ? there : view, kLook);
        });
    refuse(HZ_INVALID, "Call hz_renderer_enqueue", [&] { renderer.thumbnail(there, where); });
    hz_frame frame = {};
    hz_launch launches[1];
    int32_t launched = 7;
    frame.image = frame.out = *there.get();
    frame.workspace = cover.data(); /* an address alone */
    frame.strength = 1;
    for (int32_t capacity : {-1, -5, 0}) {
        require(
            hz_cuda_schedule(&frame, HZ_PHASE_DRAW, launches, capacity, &launched) == HZ_INVALID,
            "capacity");
        require(std::strstr(hz_last_error(), "capacity must be") && launched == 0, "no launch");
    }
    refuse(HZ_INVALID, "ordinary host memory", [&] { renderer.enqueue(view, where, view, kLook); });
    refuse(HZ_INVALID, "before the first frame", [&] { renderer.last_drawn(); });
    refuse(HZ_INVALID, "`strength`", [&] { renderer.harmonize(view, where, view, kLook, -1); });
    refuse(HZ_UNAVAILABLE, "HARMONIZER_TENSORRT",
           [&] { Predictor::engine(renderer, folder + "/model.engine"); });
    Predictor foreign = Predictor::function(from_memory, {0}, [](auto...) {});
    refuse(HZ_INVALID, "belong to this renderer",
           [&] { renderer.harmonize(view, where, view, foreign); });
    static const float nan = std::nanf("");
    Predictor broken = Predictor::function(
        renderer, {HZ_OP_SHADOW}, [&](const float*, const float*, float* arguments, void* stream) {
            cuda.call("cuMemcpyHtoDAsync_v2", reinterpret_cast<Cuda::Address>(arguments),
                      static_cast<const void*>(&nan), sizeof nan, stream);
        });
    refuse(HZ_MODEL, "finite", [&] { renderer.harmonize(view, where, view, broken); });
    Predictor throwing = Predictor::function(renderer, {HZ_OP_SHADOW},
                                             [](auto...) { throw std::runtime_error("mine"); });
    try {
        renderer.harmonize(view, where, view, throwing);
        require(false, "thrown");
    } catch (const std::runtime_error& error) {
        require(std::string(error.what()) == "mine", error.what());
    }
    std::vector<uint8_t> thin(kPixels);
    const MaskView bad = MaskView::of(thin.data(), kWidth, kHeight);
    refuse(HZ_INVALID, "must cover something", [&] { renderer.region_thumbnails(view, bad); });
    thin[5] = thin[8] = 255;
    refuse(HZ_INVALID, "2 pixels high and wide", [&] { renderer.region_thumbnails(view, bad); });
    require(picture == before, "a failure leaves the picture alone");

    if (cuda.try_call("hz_driver_fail_after", int64_t{0})) { /* emulated: no allocation succeeds */
        std::vector<uint8_t> large(3 * 4 * kPixels);
        const ImageView larger = ImageView::rgb(large.data(), 2 * kWidth, 2 * kHeight);
        refuse(HZ_OUT_OF_MEMORY, "free",
               [&] { renderer.harmonize(larger, MaskView(), larger, kLook); });
        cuda.try_call("hz_driver_fail_after", int64_t{-1});
        renderer.harmonize(larger, MaskView(), larger, kLook);
    }
    std::vector<uint8_t> wanted(picture.size());
    Renderer::cpu().harmonize(view, where, ImageView::rgb(wanted.data(), kWidth, kHeight), kLook);
    renderer.harmonize(view, where, view, kLook);
    require_alike(picture, wanted, "after the failures");
}

void check_threads() {
    const std::vector<uint8_t> mask = soft_mask();
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    Renderer shared = Renderer::cuda();
    std::vector<std::vector<uint8_t>> wanted;
    for (unsigned i = 0; i < 4; ++i) {
        wanted.push_back(noise<uint8_t>(3 * kPixels, i));
        const ImageView view = ImageView::rgb(wanted[i].data(), kWidth, kHeight);
        shared.harmonize(view, where, view, kLook);
    }
    std::vector<std::string> faults(4);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            try {
                Renderer own = Renderer::cuda();
                for (int round = 0; round < 4; ++round) {
                    std::vector<uint8_t> picture = noise<uint8_t>(3 * kPixels, i);
                    const ImageView view = ImageView::rgb(picture.data(), kWidth, kHeight);
                    (round % 2 ? own : shared).harmonize(view, where, view, kLook);
                    require(picture == wanted[i], "a thread's picture");
                }
            } catch (const std::exception& error) {
                faults[i] = error.what();
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& fault : faults) require(fault.empty(), fault);
}

/* What the emulated driver counts first: allocations, bytes, pinned, streams, events, modules. */
void require_nothing_left() {
    const Cuda cuda;
    int64_t counts[32] = {};
    if (!cuda.try_call("hz_driver_counts", static_cast<void*>(counts))) return;
    for (int i = 0; i < 6; ++i)
        require(counts[i] == 0, "count " + std::to_string(i) + " is " + std::to_string(counts[i]));
}

void check_broken() {
    Renderer renderer = Renderer::cuda();
    std::vector<uint8_t> picture(3 * kPixels);
    const ImageView view = ImageView::rgb(picture.data(), kWidth, kHeight);
    refuse(HZ_INTERNAL, "CUDA could not",
           [&] { renderer.harmonize(view, MaskView(), view, kLook); });
}

}  // namespace

int main(int count, char** words) {
    const std::string wanted = count > 1 ? words[1] : "";
    try {
        if (wanted == "compare") {
            Renderer cuda = Renderer::cuda(), cpu = Renderer::cpu();
            compare<uint8_t>(cuda, cpu, "uint8");
            compare<uint16_t>(cuda, cpu, "uint16");
            compare<float>(cuda, cpu, "float");
            check_large(cuda, cpu);
        } else if (wanted == "device") {
            check_device();
        } else if (wanted == "threads") {
            check_threads();
        } else if (wanted == "errors" && count > 2) {
            check_errors(words[2]);
        } else if (wanted == "broken") {
            check_broken();
            return 0; /* a broken context frees nothing */
        } else {
            return 2;
        }
        require_nothing_left();
        return 0;
    } catch (const std::exception& error) {
        std::printf("%s: %s\n", wanted.c_str(), error.what());
        return 1;
    }
}
