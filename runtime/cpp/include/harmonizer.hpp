/* C++17 over harmonizer.h: RAII for handles, exceptions for errors, views of pictures. Header only;
   depends on the standard library alone.

       harmonizer::Renderer renderer = harmonizer::Renderer::cpu();
       harmonizer::Program look{{HZ_OP_TEMPERATURE, 0.1}, {HZ_OP_SHADOW, 0.2}};
       auto picture = harmonizer::ImageView::rgb(pixels.data(), width, height);
       auto mask = harmonizer::MaskView::of(coverage.data(), width, height);
       renderer.harmonize(picture, mask, picture, look);

   Views own nothing. Objects are movable; a moved-from one may only be assigned to or destroyed.
   Threads and lifetimes as in harmonizer.h, except that a Predictor keeps its renderer alive. */
#ifndef HARMONIZER_HPP
#define HARMONIZER_HPP

#if __cplusplus < 201703L && !(defined(_MSVC_LANG) && _MSVC_LANG >= 201703L)
#error "harmonizer.hpp needs C++17: target_compile_features(<target> PRIVATE cxx_std_17)"
#endif

#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "harmonizer.h"

namespace harmonizer {

/* A call failed; what() says what was wrong, the rule, what came, and the remedy. */
class Error : public std::runtime_error {
public:
    Error(hz_status status, const std::string& message)
        : std::runtime_error(message), status_(status) {}
    hz_status status() const noexcept { return status_; }

private:
    hz_status status_;
};

namespace detail {

inline void check(int32_t status) {
    if (status != HZ_OK) throw Error(static_cast<hz_status>(status), hz_last_error());
}

template <typename T>
constexpr int32_t type_of() {
    using Value = std::remove_const_t<T>;
    static_assert(std::is_same_v<Value, uint8_t> || std::is_same_v<Value, uint16_t> ||
                      std::is_same_v<Value, float> || std::is_same_v<Value, bool>,
                  "pictures are uint8_t, uint16_t or float, masks also bool");
    if constexpr (std::is_same_v<Value, uint8_t>) return HZ_U8;
    if constexpr (std::is_same_v<Value, uint16_t>) return HZ_U16;
    if constexpr (std::is_same_v<Value, float>) return HZ_F32;
    return HZ_BOOL;
}

}  // namespace detail

/* A picture that is only read. */
class ConstImageView {
public:
    /* Interleaved pixels of `channels` values, with red and blue at those positions. `row_stride`
       in bytes; 0 stands for rows without padding. T is uint8_t, uint16_t or float. */
    template <typename T>
    static ConstImageView interleaved(const T* data, int64_t width, int64_t height, int channels,
                                      int red, int blue, int64_t row_stride = 0) {
        const int64_t element = sizeof(T);
        ConstImageView view;
        view.image_ = {const_cast<T*>(data) + red,
                       width,
                       height,
                       row_stride ? row_stride : width * channels * element,
                       channels * element,
                       (blue - red) / 2 * element,
                       detail::type_of<T>()};
        return view;
    }
    template <typename T>
    static ConstImageView rgb(const T* data, int64_t width, int64_t height,
                              int64_t row_stride = 0) {
        return interleaved(data, width, height, 3, 0, 2, row_stride);
    }
    template <typename T>
    static ConstImageView bgr(const T* data, int64_t width, int64_t height,
                              int64_t row_stride = 0) {
        return interleaved(data, width, height, 3, 2, 0, row_stride);
    }
    template <typename T>
    static ConstImageView rgba(const T* data, int64_t width, int64_t height,
                               int64_t row_stride = 0) {
        return interleaved(data, width, height, 4, 0, 2, row_stride);
    }
    template <typename T>
    static ConstImageView bgra(const T* data, int64_t width, int64_t height,
                               int64_t row_stride = 0) {
        return interleaved(data, width, height, 4, 2, 0, row_stride);
    }
    /* Three planes, as torch has them; `plane_stride` in bytes, 0 for planes without a gap. */
    template <typename T>
    static ConstImageView planar(const T* data, int64_t width, int64_t height,
                                 int64_t row_stride = 0, int64_t plane_stride = 0) {
        const int64_t element = sizeof(T);
        const int64_t row = row_stride ? row_stride : width * element;
        ConstImageView view;
        view.image_ = {const_cast<T*>(data),
                       width,
                       height,
                       row,
                       element,
                       plane_stride ? plane_stride : height * row,
                       detail::type_of<T>()};
        return view;
    }
    /* Any layout that hz_image can tell. */
    static ConstImageView of(const hz_image& image) {
        ConstImageView view;
        view.image_ = image;
        return view;
    }

    const hz_image* get() const noexcept { return &image_; }
    int64_t width() const noexcept { return image_.width; }
    int64_t height() const noexcept { return image_.height; }

protected:
    ConstImageView() = default;
    hz_image image_ = {};
};

/* A picture that may be drawn to. */
class ImageView : public ConstImageView {
public:
    template <typename T>
    static ImageView rgb(T* data, int64_t width, int64_t height, int64_t row_stride = 0) {
        return writable<T>(ConstImageView::rgb(data, width, height, row_stride));
    }
    template <typename T>
    static ImageView bgr(T* data, int64_t width, int64_t height, int64_t row_stride = 0) {
        return writable<T>(ConstImageView::bgr(data, width, height, row_stride));
    }
    template <typename T>
    static ImageView rgba(T* data, int64_t width, int64_t height, int64_t row_stride = 0) {
        return writable<T>(ConstImageView::rgba(data, width, height, row_stride));
    }
    template <typename T>
    static ImageView bgra(T* data, int64_t width, int64_t height, int64_t row_stride = 0) {
        return writable<T>(ConstImageView::bgra(data, width, height, row_stride));
    }
    template <typename T>
    static ImageView planar(T* data, int64_t width, int64_t height, int64_t row_stride = 0,
                            int64_t plane_stride = 0) {
        return writable<T>(ConstImageView::planar(data, width, height, row_stride, plane_stride));
    }
    static ImageView of(const hz_image& image) { return ImageView(ConstImageView::of(image)); }

private:
    explicit ImageView(const ConstImageView& view) : ConstImageView(view) {}
    template <typename T>
    static ImageView writable(const ConstImageView& view) {
        static_assert(!std::is_const_v<T>, "what is drawn to must not be const");
        return ImageView(view);
    }
};

/* Coverage of the foreground, [0, 1]; a default-constructed one stands for the whole image. */
class MaskView {
public:
    MaskView() = default;
    /* T is uint8_t, uint16_t, float or bool. Strides in bytes; 0 for values without gaps. */
    template <typename T>
    static MaskView of(const T* data, int64_t width, int64_t height, int64_t row_stride = 0,
                       int64_t pixel_stride = 0) {
        const int64_t element = sizeof(T);
        const int64_t step = pixel_stride ? pixel_stride : element;
        MaskView view;
        view.mask_ = {data,   width,
                      height, row_stride ? row_stride : width * step,
                      step,   detail::type_of<T>()};
        return view;
    }
    /* The fourth channel of RGBA or BGRA. */
    template <typename T>
    static MaskView alpha(const T* pixels, int64_t width, int64_t height, int64_t row_stride = 0) {
        return of(pixels + 3, width, height, row_stride, 4 * static_cast<int64_t>(sizeof(T)));
    }

    const hz_mask* get() const noexcept { return mask_.data ? &mask_ : nullptr; }

private:
    hz_mask mask_ = {};
};

/* "temperature" for HZ_OP_TEMPERATURE, and back. Throw Error for what is not an operation. */
inline std::string operation_name(int32_t operation) {
    static const char* const names[] = HZ_OP_NAMES;
    if (operation < 0 || operation >= HZ_OP_COUNT)
        throw Error(HZ_INVALID, "an operation must be a code from 0 to " +
                                    std::to_string(HZ_OP_COUNT - 1) + "; got " +
                                    std::to_string(operation) + ".");
    return names[operation];
}

inline int32_t operation_code(const std::string& name) {
    static const char* const names[] = HZ_OP_NAMES;
    std::string known;
    for (int32_t code = 0; code < HZ_OP_COUNT; ++code) {
        if (name == names[code]) return code;
        known += (code ? ", " : "") + std::string(names[code]);
    }
    throw Error(HZ_INVALID, "an operation must be one of " + known + "; got `" + name + "`.");
}

/* Operations in drawing order with their arguments, and the statistics once measured. */
class Program {
public:
    Program() = default;
    Program(std::initializer_list<std::pair<int32_t, double>> steps) {
        for (const auto& step : steps) add(step.first, step.second);
    }
    explicit Program(const hz_program& program) : program_(program) {}

    Program& add(int32_t operation, double argument) {
        operation_name(operation);
        if (program_.count == HZ_MAX_STEPS)
            throw Error(HZ_INVALID, "a program must have at most " + std::to_string(HZ_MAX_STEPS) +
                                        " steps; got one more.");
        hz_step& step = program_.steps[program_.count++];
        step = {};
        step.operation = operation;
        step.argument = argument;
        return *this;
    }

    /* HZ_OP_PIECEWISE_CURVE with its numbers; once at most. */
    Program& add(const hz_curves& curves) {
        add(HZ_OP_PIECEWISE_CURVE, 0);
        program_.curves = curves;
        return *this;
    }

    int size() const noexcept { return program_.count; }
    const hz_curves& curves() const noexcept { return program_.curves; }
    const hz_step* begin() const noexcept { return program_.steps; }
    const hz_step* end() const noexcept { return program_.steps + program_.count; }
    hz_program* get() noexcept { return &program_; }
    const hz_program* get() const noexcept { return &program_; }

private:
    hz_program program_ = {};
};

/* What a predictor sees: planar float RGB and coverage, 256x256, in [0, 1]. */
struct Thumbnail {
    static constexpr int size = HZ_THUMBNAIL_SIZE;
    std::vector<float> composite = std::vector<float>(3 * size * size);
    std::vector<float> coverage = std::vector<float>(size * size);
};

/* What a predictor of separate regions sees: two planar float RGB pictures, 256x256, in [0, 1]. */
struct RegionThumbnails {
    static constexpr int size = HZ_THUMBNAIL_SIZE;
    std::vector<float> foreground = std::vector<float>(3 * size * size);
    std::vector<float> background = std::vector<float>(3 * size * size);
};

struct CudaOptions {
    int32_t device = 0;
    void* stream = nullptr;          /* CUstream or cudaStream_t; null: the renderer's own */
    std::string kernels;             /* path of hz_kernels.fatbin; empty: beside the library */
    std::vector<char> kernels_image; /* or its bytes */
};

struct EngineOptions {
    std::vector<int32_t> operations; /* what it predicts; empty: see hz_engine_options */
    std::string library;             /* path of libnvinfer.so; empty: where the system finds it */
    std::string label;               /* what the foreground shows, for S2CRNet; empty: other */
};

class Predictor;

class Renderer {
public:
    /* threads: 0 for as many as the process may run on. */
    static Renderer cpu(int32_t threads = 0) {
        hz_renderer_options options = {};
        options.size = sizeof options;
        options.threads = threads;
        return Renderer("cpu", options);
    }
    /* Throws Error HZ_UNAVAILABLE on a machine without NVIDIA driver or GPU. */
    static Renderer cuda(const CudaOptions& chosen = {}) {
        hz_renderer_options options = {};
        options.size = sizeof options;
        options.device = chosen.device;
        options.stream = chosen.stream;
        options.kernels = chosen.kernels.empty() ? nullptr : chosen.kernels.c_str();
        options.kernels_image =
            chosen.kernels_image.empty() ? nullptr : chosen.kernels_image.data();
        options.kernels_size = chosen.kernels_image.size();
        return Renderer("cuda", options);
    }

    std::string name() const { return hz_renderer_name(get()); }

    /* Fill in the statistics of the program's steps. */
    void measure(const ConstImageView& image, Program& program) {
        detail::check(hz_renderer_measure(get(), image.get(), program.get()));
    }
    /* Draw with the statistics as the program has them. */
    void render(const ConstImageView& image, const MaskView& mask, const Program& program,
                const ImageView& out) {
        detail::check(hz_renderer_render(get(), image.get(), mask.get(), program.get(), out.get()));
    }
    Thumbnail thumbnail(const ConstImageView& image, const MaskView& mask) {
        Thumbnail made;
        detail::check(hz_renderer_thumbnail(get(), image.get(), mask.get(), made.composite.data(),
                                            made.coverage.data()));
        return made;
    }

    /* Throws Error HZ_INVALID for a mask without a foreground of 2x2 pixels or more. */
    RegionThumbnails region_thumbnails(const ConstImageView& image, const MaskView& mask) {
        RegionThumbnails made;
        detail::check(hz_renderer_region_thumbnails(
            get(), image.get(), mask.get(), made.foreground.data(), made.background.data()));
        return made;
    }

    /* Measure and draw given arguments; `out` may be the image. Returns what was drawn: arguments
       clamped, statistics filled in. */
    Program harmonize(const ConstImageView& image, const MaskView& mask, const ImageView& out,
                      const Program& look, double strength = 1) {
        Program drawn = look;
        detail::check(hz_renderer_harmonize(get(), nullptr, image.get(), mask.get(), strength,
                                            out.get(), drawn.get()));
        return drawn;
    }
    /* Predict, measure and draw. */
    inline Program harmonize(const ConstImageView& image, const MaskView& mask,
                             const ImageView& out, Predictor& predictor, double strength = 1);

    /* The same in device memory, queued on the stream ("cuda" only); pictures must stay until it
       has passed. */
    void enqueue(const ConstImageView& image, const MaskView& mask, const ImageView& out,
                 const Program& look, double strength = 1) {
        detail::check(hz_renderer_enqueue(get(), nullptr, image.get(), mask.get(), strength,
                                          out.get(), look.get()));
    }
    inline void enqueue(const ConstImageView& image, const MaskView& mask, const ImageView& out,
                        Predictor& predictor, double strength = 1);

    /* Wait for what is queued. */
    void synchronize() { detail::check(hz_renderer_synchronize(get(), nullptr)); }
    /* Wait, and return what the last frame drew. */
    Program last_drawn() {
        Program drawn;
        detail::check(hz_renderer_synchronize(get(), drawn.get()));
        return drawn;
    }

    hz_renderer* get() const noexcept { return handle_.get(); }

private:
    friend class Predictor;
    Renderer(const char* backend, const hz_renderer_options& options) {
        hz_renderer* made = nullptr;
        detail::check(hz_renderer_create(backend, &options, &made));
        handle_.reset(made, hz_renderer_destroy);
    }
    std::shared_ptr<hz_renderer> handle_;
};

class Predictor {
public:
    /* (composite, coverage, arguments, stream) as hz_predict; what it throws, harmonize rethrows. */
    using Function = std::function<void(const float*, const float*, float*, void*)>;

    /* A TensorRT engine, for a CUDA renderer. */
    static Predictor engine(const Renderer& renderer, const std::string& path,
                            const EngineOptions& chosen = {}) {
        hz_engine_options options = {};
        options.size = sizeof options;
        options.operations = chosen.operations.empty() ? nullptr : chosen.operations.data();
        options.count = static_cast<int32_t>(chosen.operations.size());
        options.library = chosen.library.empty() ? nullptr : chosen.library.c_str();
        options.label = chosen.label.empty() ? nullptr : chosen.label.c_str();
        Predictor made(renderer);
        hz_predictor* handle = nullptr;
        detail::check(hz_predictor_load_engine(renderer.get(), path.c_str(), &options, &handle));
        made.handle_.reset(handle);
        return made;
    }
    /* A network of the application's own. */
    static Predictor function(const Renderer& renderer, const std::vector<int32_t>& operations,
                              Function predict) {
        if (!predict)
            throw Error(HZ_INVALID,
                        "`predict` must be a function; got an empty one. Give one that "
                        "writes a float for each operation.");
        Predictor made(renderer);
        made.state_ = std::make_unique<State>();
        made.state_->predict = std::move(predict);
        hz_predictor* handle = nullptr;
        detail::check(hz_predictor_create(renderer.get(), call, made.state_.get(),
                                          operations.data(),
                                          static_cast<int32_t>(operations.size()), &handle));
        made.handle_.reset(handle);
        return made;
    }

    int size() const noexcept { return hz_predictor_count(handle_.get()); }
    hz_predictor* get() const noexcept { return handle_.get(); }

    /* Throw what a function threw during a call with this status, or Error; for calls of the C
       interface with a predictor. */
    static void check(int32_t status) {
        if (std::exception_ptr pending = std::exchange(thrown(), nullptr))
            std::rethrow_exception(pending);
        detail::check(status);
    }

private:
    struct State {
        Function predict;
    };
    struct Destroy {
        void operator()(hz_predictor* predictor) const { hz_predictor_destroy(predictor); }
    };

    explicit Predictor(const Renderer& renderer) : renderer_(renderer.handle_) {}

    /* Exceptions must not pass through C: the calling thread keeps one until the call is over. */
    static std::exception_ptr& thrown() {
        thread_local std::exception_ptr pending;
        return pending;
    }
    static int32_t call(void* user, const float* composite, const float* coverage, float* arguments,
                        void* stream) {
        try {
            static_cast<State*>(user)->predict(composite, coverage, arguments, stream);
            return 0;
        } catch (...) {
            thrown() = std::current_exception();
            return 1;
        }
    }
    std::shared_ptr<hz_renderer> renderer_; /* outlives the predictor: members go in reverse */
    std::unique_ptr<State> state_;
    std::unique_ptr<hz_predictor, Destroy> handle_;
};

inline Program Renderer::harmonize(const ConstImageView& image, const MaskView& mask,
                                   const ImageView& out, Predictor& predictor, double strength) {
    Program drawn;
    Predictor::check(hz_renderer_harmonize(get(), predictor.get(), image.get(), mask.get(),
                                           strength, out.get(), drawn.get()));
    return drawn;
}

inline void Renderer::enqueue(const ConstImageView& image, const MaskView& mask,
                              const ImageView& out, Predictor& predictor, double strength) {
    Predictor::check(hz_renderer_enqueue(get(), predictor.get(), image.get(), mask.get(), strength,
                                         out.get(), nullptr));
}

}  // namespace harmonizer

#endif
