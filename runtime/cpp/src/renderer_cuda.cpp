#include "renderer_cuda.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "threads.h"

namespace hz_cuda {
namespace {

using hz_cpu::Invalid;

constexpr int64_t kPlane = int64_t{hz_cpu::kThumbnail} * hz_cpu::kThumbnail;
constexpr int64_t kChunkBytes = 4 << 20; /* long enough for PCIe, short enough to overlap */
constexpr int64_t kMostChunks = 16;
constexpr int64_t kPixelsACopy = 1 << 16;
constexpr int kCopyThreads = 4; /* that many fill the memory bus */

constexpr unsigned kNonBlocking = 1, kNoTiming = 2;               /* CU_STREAM_, CU_EVENT_ */
constexpr int kMemoryType = 2, kDeviceOrdinal = 9, kOnDevice = 2; /* CU_POINTER_ATTRIBUTE_ */
void* const kParametersAt = reinterpret_cast<void*>(1);           /* CU_LAUNCH_PARAM_ */
void* const kParametersSize = reinterpret_cast<void*>(2);
constexpr int kMaxDynamicShared = 8;                              /* CU_FUNC_ATTRIBUTE_ */
constexpr uint32_t kSharedWithoutAsking = 48 << 10;

template <typename Picture>
void copy_in_parallel(const Picture& from, const Picture& to, int64_t first, int64_t end) {
    const hz_cpu::Bands bands =
        hz_cpu::make_bands(from.width, end - first, kPixelsACopy, 1 << 20, kCopyThreads);
    hz_cpu::for_each_band(bands, [&](int, int64_t begin, int64_t stop) {
        copy_rows(from, to, first + begin, first + stop);
    });
}

template <typename Picture>
Picture picture_at(const Layout& layout, void* base) {
    if constexpr (std::is_same_v<Picture, hz_image>)
        return layout.image_at(base);
    else
        return layout.mask_at(base);
}

/* Rows in parts that are copied one after the other, so that one part's way over the bus overlaps
   the next one's through memory. */
struct Chunks {
    explicit Chunks(const Layout& layout) : layout_(layout) {
        const int64_t wished = (layout.bytes() + kChunkBytes - 1) / kChunkBytes;
        const int64_t count = std::min({wished, kMostChunks, layout.height});
        rows = (layout.height + count - 1) / count;
    }
    template <typename Copy>
    void transfer(int64_t first, int64_t end, const Copy& copy) const {
        for (int64_t plane = 0; plane < layout_.planes; ++plane)
            copy(plane * layout_.plane_bytes + first * layout_.row_stride,
                 static_cast<size_t>((end - first) * layout_.row_stride));
    }
    int64_t rows;

private:
    const Layout& layout_;
};

class Marker {
public:
    explicit Marker(Stream stream) {
        check(driver().create_event(&event_, kNoTiming), "create an event");
        const Result result = driver().record_event(event_, stream);
        if (result == kSuccess) return;
        driver().destroy_event(event_);
        check(result, "record an event");
    }
    ~Marker() { driver().destroy_event(event_); }
    Marker(const Marker&) = delete;
    Marker& operator=(const Marker&) = delete;
    void wait() const { check(driver().wait_for_event(event_), "finish the queued work"); }

private:
    Event event_ = nullptr;
};

}  // namespace

template <typename Work>
void CudaRenderer::take_turn(const Work& work) {
    const std::lock_guard<std::mutex> guard(lock_);
    const Current current(context());
    try {
        work();
    } catch (const Invalid&) {
        throw; /* nothing was queued */
    } catch (...) {
        workspace_ready_ = false;
        driver().wait_for_stream(stream_); /* what was queued may use the staging memory */
        throw;
    }
}

CudaRenderer::CudaRenderer(const hz_renderer_options& options)
    : ordinal_(options.device),
      device_(options.device),
      stream_(static_cast<Stream>(options.stream)) {
    const Current current(context());
    try {
        module_ = load_kernels(options, device_);
        if (!stream_) {
            check(driver().create_stream(&stream_, kNonBlocking), "create a stream");
            own_stream_ = true;
        }
        name = "cuda:" + std::to_string(ordinal_) + " " + device_.name();
    } catch (...) {
        release();
        throw;
    }
}

CudaRenderer::~CudaRenderer() {
    driver().push_context(context());
    driver().wait_for_stream(stream_);
    release();
    Context popped;
    driver().pop_context(&popped);
}

void CudaRenderer::release() {
    for (DeviceBuffer* buffer : {&workspace_, &image_, &mask_, &predicted_.composite,
                                 &predicted_.coverage, &predicted_.arguments})
        buffer->release();
    for (PinnedBuffer* buffer :
         {&pinned_image_, &pinned_mask_, &pinned_report_, &pinned_thumbnails_})
        buffer->release();
    if (own_stream_) driver().destroy_stream(stream_);
    if (module_) driver().unload_module(module_);
    own_stream_ = false;
    module_ = nullptr;
}

Function CudaRenderer::kernel(const char* kernel_name, uint32_t shared) {
    Function& function = kernels_[kernel_name];
    if (!function)
        check(driver().find_function(&function, module_, kernel_name), "find a kernel");
    if (shared > kSharedWithoutAsking)
        check(driver().set_function_attribute(function, kMaxDynamicShared,
                                              static_cast<int>(shared)),
              "reserve shared memory");
    return function;
}

/* Zeros the workspace for the first frame and after a failed one; every other frame leaves it as
   the next one needs it. */
void* CudaRenderer::prepare_workspace() {
    const size_t bytes = hz_workspace_size();
    workspace_.reserve(bytes);
    if (!workspace_ready_)
        check(driver().fill_bytes(workspace_.address(), 0, bytes, stream_),
              "clear the workspace");
    workspace_ready_ = true;
    return workspace_.pointer();
}

void CudaRenderer::run(hz_frame frame, int32_t phases) {
    hz_launch launches[HZ_MOST_LAUNCHES];
    int32_t count = 0;
    frame.processors = device_.processors();
    const int32_t status = hz_cuda_schedule(&frame, phases, launches, HZ_MOST_LAUNCHES, &count);
    if (status == HZ_INVALID) throw Invalid(hz_last_error());
    if (status != HZ_OK) throw std::runtime_error(hz_last_error());
    for (int32_t i = 0; i < count; ++i) {
        hz_launch& launch = launches[i];
        size_t size = launch.size;
        void* extra[] = {kParametersAt, launch.parameters, kParametersSize, &size, nullptr};
        check(driver().launch(kernel(launch.kernel, launch.shared), launch.grid[0],
                              launch.grid[1], launch.grid[2], launch.block[0], launch.block[1],
                              launch.block[2], launch.shared, stream_, nullptr, extra),
              launch.kernel);
    }
}

/* The network is asked in between, without the host looking at anything. */
void CudaRenderer::run_predicted(hz_frame frame, hz_predictor& predictor, double strength) {
    const size_t size = predictor.thumbnail_type == HZ_F16 ? 2 : 4;
    predicted_.composite.reserve(3 * kPlane * size);
    predicted_.coverage.reserve(kPlane * size);
    predicted_.arguments.reserve(HZ_MAX_STEPS * sizeof(float));
    float* const arguments = static_cast<float*>(predicted_.arguments.pointer());
    frame.workspace = prepare_workspace();
    frame.composite = predicted_.composite.pointer();
    frame.coverage = predicted_.coverage.pointer();
    frame.thumbnail_type = predictor.thumbnail_type;
    frame.arguments = arguments;
    frame.strength = strength;
    frame.count = predictor.count;
    std::copy_n(predictor.operations, predictor.count, frame.operations);
    run(frame, HZ_PHASE_MEASURE);
    predictor.predict(frame.composite, frame.coverage, arguments, stream_);
    run(frame, HZ_PHASE_DRAW);
}

/* Arguments (and statistics, if the frame says so) that the host gives. The driver reads the
   program before `upload` returns: it is small and not pinned. */
void CudaRenderer::run_given(hz_frame frame, const hz_program& program, int32_t phases) {
    frame.workspace = prepare_workspace();
    check(driver().upload(workspace_.address(), &program, sizeof program, stream_),
          "upload the arguments");
    frame.strength = 1;
    frame.count = program.count;
    for (int i = 0; i < program.count; ++i) frame.operations[i] = program.steps[i].operation;
    run(frame, phases);
}

hz_frame CudaRenderer::upload(const hz_image& image, const hz_mask* mask) {
    hz_frame frame = {};
    frame.image = upload_picture(image, image_, pinned_image_).image_at(image_.pointer());
    frame.out = frame.image; /* in place: the caller's picture is not touched by that */
    if (mask) frame.mask = upload_picture(*mask, mask_, pinned_mask_).mask_at(mask_.pointer());
    return frame;
}

template <typename Picture>
Layout CudaRenderer::upload_picture(const Picture& picture, DeviceBuffer& target,
                                    PinnedBuffer& pinned) {
    const Layout layout = layout_of(picture);
    target.reserve(static_cast<size_t>(layout.bytes()));
    pinned.reserve(static_cast<size_t>(layout.bytes()));
    const Picture staged = picture_at<Picture>(layout, pinned.data());
    const Chunks chunks(layout);
    for (int64_t row = 0; row < layout.height; row += chunks.rows) {
        const int64_t end = std::min(row + chunks.rows, layout.height);
        copy_in_parallel(picture, staged, row, end);
        chunks.transfer(row, end, [&](int64_t at, size_t bytes) {
            check(driver().upload(target.address() + static_cast<Address>(at), pinned.data() + at,
                                  bytes, stream_),
                  "upload a picture");
        });
    }
    return layout;
}

/* The report is on its way before the picture, and is looked at before the picture is touched. */
hz_report CudaRenderer::download(const hz_image& out, const Layout& layout) {
    const Chunks chunks(layout);
    std::vector<std::unique_ptr<Marker>> arrivals;
    queue_report();
    for (int64_t row = 0; row < layout.height; row += chunks.rows) {
        chunks.transfer(
            row, std::min(row + chunks.rows, layout.height), [&](int64_t at, size_t bytes) {
                check(driver().download(pinned_image_.data() + at,
                                        image_.address() + static_cast<Address>(at), bytes,
                                        stream_),
                      "download the picture");
            });
        arrivals.push_back(std::make_unique<Marker>(stream_));
    }
    const hz_image staged = layout.image_at(pinned_image_.data());
    hz_report report = {};
    for (size_t i = 0; i < arrivals.size(); ++i) {
        arrivals[i]->wait();
        if (i == 0) report = arrived_report();
        const int64_t row = static_cast<int64_t>(i) * chunks.rows;
        copy_in_parallel(staged, out, row, std::min(row + chunks.rows, layout.height));
    }
    return report;
}

void CudaRenderer::wait() {
    check(driver().wait_for_stream(stream_), "finish the queued work");
}

void CudaRenderer::queue_report() {
    pinned_report_.reserve(sizeof(hz_report));
    check(driver().download(pinned_report_.data(), workspace_.address(), sizeof(hz_report),
                            stream_),
          "download the arguments");
}

hz_report CudaRenderer::arrived_report() const {
    hz_report report;
    std::memcpy(&report, pinned_report_.data(), sizeof report);
    if (report.seen & HZ_SEEN_NOT_FINITE)
        throw hz_cpu::BadModel(
            "the predictor must give finite arguments; it gave NaN or infinity. Check the model "
            "and its precision.");
    return report;
}

void CudaRenderer::measure(const hz_image& image, hz_program& program) {
    take_turn([&] {
        run_given(upload(image, nullptr), program, HZ_PHASE_MEASURE | HZ_PHASE_PREPARE);
        queue_report();
        wait();
        const hz_report report = arrived_report();
        for (int i = 0; i < program.count; ++i)
            std::copy_n(report.program.steps[i].statistics, 3, program.steps[i].statistics);
    });
}

void CudaRenderer::render(const hz_image& image, const hz_mask* mask, const hz_program& program,
                          const hz_image& out) {
    take_turn([&] {
        hz_frame frame = upload(image, mask);
        frame.statistics_given = 1;
        run_given(frame, program, HZ_PHASE_MEASURE | HZ_PHASE_DRAW);
        download(out, layout_of(image));
    });
}

void CudaRenderer::harmonize(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                             double strength, const hz_image& out, hz_program& program) {
    take_turn([&] {
        const hz_frame frame = upload(image, mask);
        run_with(frame, predictor, strength, &program);
        program = download(out, layout_of(image)).program;
    });
}

void CudaRenderer::run_with(const hz_frame& frame, hz_predictor* predictor, double strength,
                            const hz_program* given) {
    if (predictor) return run_predicted(frame, *predictor, strength);
    hz_program program = *given;
    hz_cpu::scale_arguments(program, strength);
    run_given(frame, program, HZ_PHASE_MEASURE | HZ_PHASE_DRAW);
}

void CudaRenderer::thumbnail(const hz_image& image, const hz_mask* mask, float* composite,
                             float* coverage) {
    take_turn([&] {
        hz_frame frame = upload(image, mask);
        predicted_.composite.reserve(3 * kPlane * sizeof(float));
        predicted_.coverage.reserve(kPlane * sizeof(float));
        pinned_thumbnails_.reserve(4 * kPlane * sizeof(float));
        frame.workspace = prepare_workspace();
        frame.composite = predicted_.composite.pointer();
        frame.coverage = predicted_.coverage.pointer();
        frame.thumbnail_type = HZ_F32;
        frame.strength = 1;
        run(frame, HZ_PHASE_MEASURE);
        auto* const arrived = reinterpret_cast<float*>(pinned_thumbnails_.data());
        check(driver().download(arrived, predicted_.composite.address(),
                                3 * kPlane * sizeof(float), stream_),
              "download the thumbnail");
        check(driver().download(arrived + 3 * kPlane, predicted_.coverage.address(),
                                kPlane * sizeof(float), stream_),
              "download the thumbnail");
        wait();
        std::copy_n(arrived, 3 * kPlane, composite);
        std::copy_n(arrived + 3 * kPlane, kPlane, coverage);
    });
}

void CudaRenderer::enqueue(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                           double strength, const hz_image& out, const hz_program* program) {
    take_turn([&] {
        check_device_memory(image.data, "image");
        if (mask) check_device_memory(mask->data, "mask");
        check_device_memory(out.data, "out");
        hz_frame frame = {};
        frame.image = image;
        if (mask) frame.mask = *mask;
        frame.out = out;
        run_with(frame, predictor, strength, program);
    });
}

void CudaRenderer::enqueue_frame(const hz_frame& given, int32_t phases) {
    take_turn([&] {
        check_device_memory(given.image.data, "image");
        if (given.mask.data) check_device_memory(given.mask.data, "mask");
        if (phases & HZ_PHASE_DRAW) check_device_memory(given.out.data, "out");
        hz_frame frame = given;
        if (!frame.workspace) frame.workspace = prepare_workspace();
        run(frame, phases);
    });
}

void CudaRenderer::synchronize(hz_program* program) {
    take_turn([&] {
        if (program && workspace_.empty())
            throw Invalid("`program` must be null before the first frame; nothing was drawn.");
        if (program) queue_report();
        wait();
        if (program) *program = arrived_report().program;
    });
}

void CudaRenderer::check_device_memory(const void* data, const char* label) const {
    const Address address = reinterpret_cast<uintptr_t>(data);
    const std::string rule = std::string("`") + label + "` must be memory of device " +
                             std::to_string(ordinal_) + "; ";
    int type = 0, owner = ordinal_;
    if (driver().pointer_attribute(&type, kMemoryType, address) != kSuccess)
        throw Invalid(rule + "it is ordinary host memory. Upload it, or call "
                             "hz_renderer_harmonize.");
    if (type == kOnDevice &&
        driver().pointer_attribute(&owner, kDeviceOrdinal, address) == kSuccess &&
        owner != ordinal_)
        throw Invalid(rule + "it is on device " + std::to_string(owner) +
                      ". Create a renderer for that device, or copy it.");
}

hz_renderer* make_cuda_renderer(const hz_renderer_options& options) {
    driver();
    return new CudaRenderer(options);
}

}  // namespace hz_cuda
