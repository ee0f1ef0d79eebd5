/* Harmonize a picture, or a stream of raw frames: an example of harmonizer.hpp. */
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "mask_values.h"
#include "options.h"
#include "pictures.h"

namespace {

using harmonizer::ImageView;
using harmonizer::MaskView;
using harmonizer::Program;

double now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

/* The value below which a part of the times lies. */
double percentile(std::vector<double> times, double part) {
    std::sort(times.begin(), times.end());
    return times[static_cast<size_t>(part * static_cast<double>(times.size() - 1) + 0.5)];
}

harmonizer::Renderer make_renderer(const Options& options) {
    if (options.backend == "cpu") return harmonizer::Renderer::cpu(options.threads);
    harmonizer::CudaOptions cuda;
    cuda.device = options.device;
    cuda.kernels = options.kernels;
    return harmonizer::Renderer::cuda(cuda);
}

/* A renderer with the arguments, or with the engine that predicts them. */
class Harmonizer {
public:
    explicit Harmonizer(const Options& options) : strength_(options.strength) {
        if (!options.arguments.empty()) look_ = read_arguments(options.arguments);
        harmonizer::EngineOptions engine;
        if (!options.filters.empty()) engine.operations = read_filters(options.filters);
        engine.library = options.tensorrt;
        engine.label = options.label;
        renderer_.emplace(make_renderer(options));
        if (!options.engine.empty())
            predictor_.emplace(harmonizer::Predictor::engine(*renderer_, options.engine, engine));
    }

    /* In place; remembers how long it took. */
    Program draw(const ImageView& image, const MaskView& mask) {
        const double start = now_ms();
        const Program drawn = predictor_
                                  ? renderer_->harmonize(image, mask, image, *predictor_, strength_)
                                  : renderer_->harmonize(image, mask, image, look_, strength_);
        times_ms_.push_back(now_ms() - start);
        return drawn;
    }

    /* The first call also allocates: it is stated apart. */
    void report() const {
        std::fprintf(stderr, "%s: first %.2f ms", renderer_->name().c_str(), times_ms_.front());
        if (times_ms_.size() > 1) {
            const std::vector<double> later(times_ms_.begin() + 1, times_ms_.end());
            std::fprintf(stderr, ", then p50 %.2f, p90 %.2f, p99 %.2f ms over %zu",
                         percentile(later, 0.5), percentile(later, 0.9), percentile(later, 0.99),
                         later.size());
        }
        std::fprintf(stderr, "\n");
    }

private:
    std::optional<harmonizer::Renderer> renderer_;
    std::optional<harmonizer::Predictor> predictor_;
    Program look_;
    double strength_;
    std::vector<double> times_ms_;
};

void print(const Program& program) {
    for (const hz_step& step : program) {
        const std::string name = harmonizer::operation_name(step.operation);
        if (step.operation == HZ_OP_PIECEWISE_CURVE)
            std::fprintf(stderr, "%s of %d stages  ", name.c_str(), program.curves().stages);
        else
            std::fprintf(stderr, "%s %+.3f  ", name.c_str(), step.argument);
    }
    std::fprintf(stderr, "\n");
}

void check_picture(const Options& options, const Picture& picture, const Picture& mask) {
    if (picture.channels < 3)
        throw InputError(options.image + " must have colours; it is grey. Convert it to RGB.");
    if (options.mask.empty() && picture.channels != 4)
        throw InputError(options.image +
                         " must have an alpha channel where no MASK is given; it "
                         "has none. Give a MASK.");
    if (options.mask.empty()) return;
    if (mask.channels != 1)
        throw InputError(options.mask + " must be grey, white for the foreground; it has " +
                         std::to_string(mask.channels) + " channels. Convert it to PGM.");
    if (mask.width != picture.width || mask.height != picture.height)
        throw InputError(options.mask + " must have the picture's width and height; it has " +
                         std::to_string(mask.width) + "x" + std::to_string(mask.height) + " for " +
                         std::to_string(picture.width) + "x" + std::to_string(picture.height) +
                         ". Scale it.");
}

/* Levels applied, or checked that it needs none. */
template <typename T>
void settle(Picture& mask, const std::string& name, const MaskLevels& levels) {
    T* const values = reinterpret_cast<T*>(mask.data.data());
    const size_t count = mask.data.size() / sizeof(T);
    if (levels.given()) return apply_levels(values, count, levels);
    Brightness(name, 1).see(values, count);
}

/* Faint frames with a foreground after which a stream of masks is given up. */
constexpr int kPatience = 250;

void harmonize_file(const Options& options) {
    MaskLevels levels;
    if (!options.mask_levels.empty()) levels = read_levels(options.mask_levels);
    Harmonizer harmonizer(options);
    const double start = now_ms();
    Picture picture = read_picture(options.image), mask;
    if (!options.mask.empty()) mask = read_picture(options.mask);
    check_picture(options, picture, mask);
    const std::string& named = options.mask.empty() ? options.image : options.mask;
    if (options.mask.empty()) mask = picture.coverage();
    mask.bytes == 1 ? settle<uint8_t>(mask, named, levels) : settle<uint16_t>(mask, named, levels);
    const double read = now_ms();
    const std::vector<uint8_t> source = options.repeat > 1 ? picture.data : std::vector<uint8_t>();
    Program drawn;
    for (int i = 0; i < options.repeat; ++i) {
        if (i > 0) picture.data = source;
        drawn = harmonizer.draw(picture.image(), mask.mask());
    }
    const double write = now_ms();
    write_picture(options.output, picture);
    print(drawn);
    std::fprintf(stderr, "read %.2f ms, write %.2f ms\n", read - start, now_ms() - write);
    harmonizer.report();
}

/* As many bytes as there are, up to the size of `data`. */
size_t read_up_to(std::FILE* file, std::vector<uint8_t>& data, const std::string& name) {
    const size_t count = std::fread(data.data(), 1, data.size(), file);
    if (std::ferror(file))
        throw InputError(name + " must be readable; " + std::strerror(errno) + ".");
    return count;
}

/* One mask for all frames, or one for each. */
class MaskStream {
public:
    MaskStream(const std::string& path, long long width, long long height,
               const std::string& levels)
        : path_(path),
          brightness_(path, kPatience),
          width_(width),
          height_(height),
          data_(static_cast<size_t>(width * height)),
          file_(std::fopen(path.c_str(), "rb"), std::fclose) {
        if (!file_)
            throw InputError(path + " must be a readable file of masks; " + std::strerror(errno) +
                             ".");
        if (!levels.empty()) levels_ = read_levels(levels);
    }

    MaskView next() {
        if (!constant_) {
            const size_t count = read_up_to(file_.get(), data_, path_);
            constant_ = count == 0 && frames_ == 1;
            if (!constant_ && count != data_.size())
                throw InputError(path_ + " must hold one mask, or one for each frame, of " +
                                 std::to_string(data_.size()) + " bytes; mask " +
                                 std::to_string(frames_ + 1) + " has " + std::to_string(count) +
                                 ". Check --raw, and that it is 8-bit grey without a header.");
            if (levels_.given())
                apply_levels(data_.data(), constant_ ? 0 : data_.size(), levels_);
            else
                brightness_.see(data_.data(), data_.size());
        }
        ++frames_;
        return MaskView::of(data_.data(), width_, height_);
    }

    /* After the last frame; throws InputError if no mask came near white. */
    void judge() const {
        if (!levels_.given()) brightness_.judge();
    }

private:
    std::string path_;
    Brightness brightness_;
    MaskLevels levels_;
    long long width_, height_;
    std::vector<uint8_t> data_;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
    long long frames_ = 0;
    bool constant_ = false;
};

void harmonize_stream(const Options& options) {
    Harmonizer harmonizer(options);
    MaskStream masks(options.mask, options.width, options.height, options.mask_levels);
    std::vector<uint8_t> frame(static_cast<size_t>(3 * options.width * options.height));
    const double start = now_ms();
    long long frames = 0;
    for (;; ++frames) {
        const size_t count = read_up_to(stdin, frame, "stdin");
        if (count == 0) break;
        if (count != frame.size())
            throw InputError("stdin must hold whole frames of " + std::to_string(frame.size()) +
                             " bytes; frame " + std::to_string(frames + 1) + " has " +
                             std::to_string(count) + ". Check --raw and the pixel format.");
        const MaskView mask = masks.next();
        harmonizer.draw(ImageView::rgb(frame.data(), options.width, options.height), mask);
        if (std::fwrite(frame.data(), 1, frame.size(), stdout) != frame.size())
            throw InputError(std::string("stdout must take the frames; ") + std::strerror(errno) +
                             ".");
    }
    if (std::fflush(stdout) != 0)
        throw InputError(std::string("stdout must take the frames; ") + std::strerror(errno) + ".");
    masks.judge();
    if (frames == 0) throw InputError("stdin must hold at least one frame; it is empty.");
    const double seconds = (now_ms() - start) / 1000;
    std::fprintf(stderr, "%lld frames in %.2f s, %.1f a second with input and output\n", frames,
                 seconds, static_cast<double>(frames) / seconds);
    harmonizer.report();
}

}  // namespace

int main(int count, char** words) {
    try {
        const Options options = read_options(std::vector<std::string>(words + 1, words + count));
        if (options.help)
            std::fputs(kUsage, stdout);
        else if (options.raw.empty())
            harmonize_file(options);
        else
            harmonize_stream(options);
        return 0;
    } catch (const UsageError& error) {
        std::fprintf(stderr, "harmonize: error: %s See harmonize --help.\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "harmonize: error: %s\n", error.what());
        return 1;
    }
}
