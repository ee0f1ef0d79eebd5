/* The C++ interface as an application uses it.

   consume_cpp views     every kind of view draws the same picture
   consume_cpp regions   thumbnails of foreground and background
   consume_cpp threads   eight threads, each with a renderer of its own and all with one
   consume_cpp predict   predictors, exceptions through C, lifetimes
   consume_cpp memory    one allocation after the other fails, in a process that can make them */
#ifndef _WIN32
#include <dlfcn.h>
#endif

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "harmonizer.hpp"

namespace {

using harmonizer::ConstImageView;
using harmonizer::ImageView;
using harmonizer::MaskView;
using harmonizer::Predictor;
using harmonizer::Program;
using harmonizer::Renderer;

constexpr int64_t kWidth = 333, kHeight = 217, kPixels = kWidth * kHeight;

void require(bool held, const std::string& what) {
    if (!held) throw std::logic_error(what);
}

template <typename T>
std::vector<T> noise(size_t count, unsigned seed) {
    std::vector<T> values(count);
    for (T& value : values) {
        seed = seed * 1664525u + 1013904223u;
        value = static_cast<T>(seed >> 16);
    }
    return values;
}

std::vector<uint8_t> soft_mask() {
    std::vector<uint8_t> mask = noise<uint8_t>(kPixels, 5);
    std::fill_n(mask.begin(), kPixels / 3, uint8_t{0});
    std::fill_n(mask.begin() + kPixels / 3, kPixels / 3, uint8_t{255});
    return mask;
}

const Program kLook{{HZ_OP_TEMPERATURE, -0.3},
                    {HZ_OP_CONTRAST, 0.25},
                    {HZ_OP_SATURATION, -0.4},
                    {HZ_OP_HIGHLIGHT, 0.3}};

/* Lay packed RGB out as a view says, draw there, and read it back as packed RGB. */
std::vector<uint8_t> drawn_as(Renderer& renderer, const ImageView& view, const MaskView& mask,
                              const std::vector<uint8_t>& source) {
    std::vector<uint8_t> result(source.size());
    const hz_image& at = *view.get();
    const auto value = [&](int64_t i, int64_t c) {
        return static_cast<uint8_t*>(at.data) + i / kWidth * at.row_stride +
               i % kWidth * at.pixel_stride + c * at.channel_stride;
    };
    for (int64_t i = 0; i < kPixels; ++i)
        for (int64_t c = 0; c < 3; ++c) *value(i, c) = source[static_cast<size_t>(3 * i + c)];
    renderer.harmonize(view, mask, view, kLook);
    for (int64_t i = 0; i < kPixels; ++i)
        for (int64_t c = 0; c < 3; ++c) result[static_cast<size_t>(3 * i + c)] = *value(i, c);
    return result;
}

void check_views(Renderer renderer) {
    const std::vector<uint8_t> source = noise<uint8_t>(3 * kPixels, 1), mask = soft_mask();
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    std::vector<uint8_t> wanted(source.size()), room(5 * kPixels + 64, 77);
    const Program drawn =
        renderer.harmonize(ConstImageView::rgb(source.data(), kWidth, kHeight), where,
                           ImageView::rgb(wanted.data(), kWidth, kHeight), kLook);
    require(drawn.size() == kLook.size() && drawn.begin()->statistics[0] > 0, "statistics");
    require(!std::memcmp(wanted.data(), source.data(), kPixels), "the background stays");
    require(wanted != source, "the foreground is drawn");

    uint8_t* const data = room.data();
    const hz_image upside_down = {
        data + (kHeight - 1) * kWidth * 3, kWidth, kHeight, -3 * kWidth, 3, 1, HZ_U8};
    const hz_image mirrored = {data + kWidth * 4 - 1, kWidth, kHeight, kWidth * 4, -4, -1, HZ_U8};
    const ImageView views[] = {ImageView::rgb(data, kWidth, kHeight),
                               ImageView::bgr(data, kWidth, kHeight),
                               ImageView::rgba(data, kWidth, kHeight),
                               ImageView::bgra(data, kWidth, kHeight),
                               ImageView::planar(data, kWidth, kHeight),
                               ImageView::rgb(data, kWidth, kHeight, 1024),
                               ImageView::of(upside_down),
                               ImageView::of(mirrored)};
    for (const ImageView& view : views) {
        std::fill(room.begin(), room.end(), uint8_t{77});
        require(drawn_as(renderer, view, where, source) == wanted,
                "view " + std::to_string(&view - views));
    }
    std::fill(room.begin(), room.end(), uint8_t{77});
    drawn_as(renderer, views[2], where, source);
    for (int64_t i = 0; i < kPixels; ++i)
        require(room[static_cast<size_t>(4 * i + 3)] == 77, "alpha stays");

    std::vector<uint8_t> pixels = noise<uint8_t>(4 * kPixels, 3);
    const std::vector<uint8_t> before = pixels;
    renderer.harmonize(ConstImageView::rgba(pixels.data(), kWidth, kHeight),
                       MaskView::alpha(pixels.data(), kWidth, kHeight),
                       ImageView::rgba(pixels.data(), kWidth, kHeight), kLook);
    for (size_t i = 3; i < pixels.size(); i += 4) require(pixels[i] == before[i], "own alpha");

    std::vector<uint16_t> wide = noise<uint16_t>(3 * kPixels, 9);
    renderer.harmonize(ConstImageView::rgb(wide.data(), kWidth, kHeight), where,
                       ImageView::rgb(wide.data(), kWidth, kHeight), kLook);
}

void check_regions() {
    const std::vector<uint8_t> mask = soft_mask(), none(kPixels);
    const std::vector<uint8_t> picture = noise<uint8_t>(3 * kPixels, 1);
    const auto view = ConstImageView::rgb(picture.data(), kWidth, kHeight);
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    Renderer renderer = Renderer::cpu();
    const auto made = renderer.region_thumbnails(view, where);
    harmonizer::RegionThumbnails same;
    require(hz_region_thumbnails(view.get(), where.get(), same.foreground.data(),
                                 same.background.data(), 1) == HZ_OK,
            hz_last_error());
    require(made.foreground == same.foreground && made.background == same.background, "regions");
    require(*std::max_element(made.foreground.begin(), made.foreground.end()) > 0.1f, "drawn");
    try {
        renderer.region_thumbnails(view, MaskView::of(none.data(), kWidth, kHeight));
        require(false, "an empty mask");
    } catch (const harmonizer::Error& error) {
        require(error.status() == HZ_INVALID, "status");
    }
}

void check_threads() {
    const std::vector<uint8_t> mask = soft_mask();
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    Renderer shared = Renderer::cpu();
    std::vector<std::vector<uint8_t>> wanted;
    for (unsigned i = 0; i < 8; ++i) {
        wanted.push_back(noise<uint8_t>(3 * kPixels, i));
        const ImageView view = ImageView::rgb(wanted[i].data(), kWidth, kHeight);
        shared.harmonize(view, where, view, kLook);
    }
    std::vector<std::string> faults(8);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
            try {
                Renderer own = Renderer::cpu(2);
                for (int round = 0; round < 10; ++round) {
                    std::vector<uint8_t> picture = noise<uint8_t>(3 * kPixels, i);
                    const ImageView view = ImageView::rgb(picture.data(), kWidth, kHeight);
                    (round % 2 ? own : shared).harmonize(view, where, view, kLook);
                    require(picture == wanted[i], "a thread's picture");
                    try { /* messages belong to their thread */
                        own.harmonize(view, where, view, kLook, 2.0 + i);
                        require(false, "strength");
                    } catch (const harmonizer::Error& error) {
                        require(std::string(error.what()).find("got " + std::to_string(2 + i)) !=
                                    std::string::npos,
                                "message");
                    }
                }
            } catch (const std::exception& error) {
                faults[i] = error.what();
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& fault : faults) require(fault.empty(), fault);
}

struct Mine : std::runtime_error {
    using std::runtime_error::runtime_error;
};

void check_predictors() {
    const std::vector<uint8_t> mask = soft_mask();
    const MaskView where = MaskView::of(mask.data(), kWidth, kHeight);
    std::vector<uint8_t> picture = noise<uint8_t>(3 * kPixels, 1), other = picture;
    const ImageView view = ImageView::rgb(picture.data(), kWidth, kHeight),
                    twin = ImageView::rgb(other.data(), kWidth, kHeight);
    Renderer renderer = Renderer::cpu();
    const auto seen = renderer.thumbnail(view, where);
    Predictor fixed = Predictor::function(
        renderer, {HZ_OP_SHADOW, HZ_OP_TINT},
        [&](const float* composite, const float* coverage, float* arguments, void* stream) {
            require(!std::memcmp(composite, seen.composite.data(), seen.composite.size() * 4) &&
                        !std::memcmp(coverage, seen.coverage.data(), seen.coverage.size() * 4),
                    "thumbnail");
            require(!stream, "stream");
            arguments[0] = 0.5f;
            arguments[1] = -3;
        });
    require(fixed.size() == 2, "size");
    const Program drawn = renderer.harmonize(view, where, view, fixed, 0.5);
    require(drawn.begin()[0].argument == 0.25 && drawn.begin()[1].argument == -1, "arguments");
    renderer.harmonize(twin, where, twin, Program{{HZ_OP_SHADOW, 0.25}, {HZ_OP_TINT, -1}});
    require(picture == other, "predicted and given");

    Predictor faulty =
        Predictor::function(renderer, {HZ_OP_SHADOW},
                            [](const float*, const float*, float*, void*) { throw Mine("mine"); });
    try {
        renderer.harmonize(view, where, view, faulty);
        require(false, "thrown");
    } catch (const Mine&) {
    }
    require(picture == other, "nothing is drawn after a failure");
    const std::vector<uint8_t> source = noise<uint8_t>(3 * kPixels, 1);
    std::copy(source.begin(), source.end(), picture.begin());
    renderer.harmonize(view, where, view, fixed, 0); /* the failure is not remembered */

    try {
        Predictor::function(renderer, {HZ_OP_SHADOW}, nullptr);
        require(false, "no function");
    } catch (const harmonizer::Error& error) {
        require(error.status() == HZ_INVALID, "status");
    }

    Predictor moved = std::move(fixed);
    Renderer replaced = std::move(renderer);
    renderer = Renderer::cpu();
    {
        const Renderer gone = std::move(replaced);
    }
    require(moved.size() == 2, "a predictor keeps its renderer");
    try {
        renderer.harmonize(view, where, view, moved);
        require(false, "owner");
    } catch (const harmonizer::Error& error) {
        require(error.status() == HZ_INVALID, "status");
    }
    require(harmonizer::operation_code("tint") == HZ_OP_TINT, "names");
}

#ifdef _WIN32
void check_memory() { require(false, "no malloc can be put before Windows' own"); }
#else
/* Needs a malloc that fails once, when it is told: see test_cpp.py. */
void check_memory() {
    const auto fail_after = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "fail_after"));
    require(fail_after, "fail_after");
    const int64_t width = 512, height = 320; /* enough for four threads */
    const std::vector<uint8_t> source = noise<uint8_t>(3 * width * height, 1);
    std::vector<uint8_t> drawn(source.size()), wanted(source.size());
    const ConstImageView view = ConstImageView::rgb(source.data(), width, height);
    const ImageView out = ImageView::rgb(drawn.data(), width, height);
    Renderer renderer = Renderer::cpu(4);
    renderer.harmonize(view, MaskView(), ImageView::rgb(wanted.data(), width, height), kLook);
    int failures = 0;
    for (int allocation = 0; allocation < 40; ++allocation) {
        Program look = kLook;
        fail_after(allocation);
        const int32_t status = hz_renderer_harmonize(renderer.get(), nullptr, view.get(), nullptr,
                                                     1, out.get(), look.get());
        fail_after(-1);
        require(status == HZ_OK || status == HZ_OUT_OF_MEMORY, hz_last_error());
        require(status != HZ_OK || drawn == wanted, "drawn with less memory");
        failures += status != HZ_OK;
    }
    require(failures > 0 && failures < 40, std::to_string(failures) + " failures");
}
#endif

}  // namespace

int main(int count, char** words) {
    const std::string wanted = count > 1 ? words[1] : "";
    try {
        if (wanted == "views") {
            check_views(std::string(count > 2 ? words[2] : "") == "cuda" ? Renderer::cuda()
                                                                         : Renderer::cpu());
            return 0;
        }
        if (wanted == "regions") return check_regions(), 0;
        if (wanted == "threads") return check_threads(), 0;
        if (wanted == "predict") return check_predictors(), 0;
        if (wanted == "memory") return check_memory(), 0;
    } catch (const std::exception& error) {
        std::printf("%s: %s\n", wanted.c_str(), error.what());
        return 1;
    }
    return 2;
}
