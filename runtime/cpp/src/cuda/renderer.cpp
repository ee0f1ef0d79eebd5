#include "cuda/renderer.h"

#include <algorithm>
#include <cstring>

#include "cuda/ranges.h"

namespace hz_cuda {
namespace {

using hz_api::Invalid;

constexpr unsigned kNonBlocking = 1;                             /* CU_STREAM_ */
constexpr int kMemoryType = 2, kManaged = 8, kDeviceOrdinal = 9; /* CU_POINTER_ATTRIBUTE_ */
constexpr int kOnDevice = 2;                                     /* CU_MEMORYTYPE_ */
constexpr int kNoCapture = 0;                                    /* CU_STREAM_CAPTURE_STATUS_ */
void* const kParametersAt = reinterpret_cast<void*>(1);          /* CU_LAUNCH_PARAM_ */
void* const kParametersSize = reinterpret_cast<void*>(2);
constexpr int kMaxDynamicShared = 8; /* CU_FUNC_ATTRIBUTE_ */
constexpr uint32_t kSharedWithoutAsking = 48 << 10;

}  // namespace

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
    if (!function) check(driver().find_function(&function, module_, kernel_name), "find a kernel");
    if (shared > kSharedWithoutAsking)
        check(
            driver().set_function_attribute(function, kMaxDynamicShared, static_cast<int>(shared)),
            "reserve shared memory");
    return function;
}

/* Zeros the workspace for the first frame and after a failed one; every other frame leaves it as
   the next one needs it. */
void* CudaRenderer::prepare_workspace() {
    const size_t bytes = hz_workspace_size();
    workspace_.reserve(bytes);
    if (!workspace_ready_)
        check(driver().fill_bytes(workspace_.address(), 0, bytes, stream_), "clear the workspace");
    workspace_ready_ = true;
    return workspace_.pointer();
}

Schedule CudaRenderer::schedule(hz_frame frame, int32_t phases) const {
    Schedule made;
    if (phases & HZ_PHASE_MEASURE)
        made.stage =
            phases == HZ_PHASE_MEASURE ? "harmonizer: measure" : "harmonizer: measure, draw";
    frame.processors = device_.processors();
    const int32_t status =
        hz_cuda_schedule(&frame, phases, made.launches, HZ_MOST_LAUNCHES, &made.count);
    if (status == HZ_INVALID) throw Invalid(hz_last_error());
    if (status != HZ_OK) throw std::runtime_error(hz_last_error());
    return made;
}

void CudaRenderer::launch(Schedule& schedule) {
    const Range range(schedule.stage);
    for (int32_t i = 0; i < schedule.count; ++i) {
        hz_launch& launch = schedule.launches[i];
        size_t size = launch.size;
        void* extra[] = {kParametersAt, launch.parameters, kParametersSize, &size, nullptr};
        check(driver().launch(kernel(launch.kernel, launch.shared), launch.grid[0], launch.grid[1],
                              launch.grid[2], launch.block[0], launch.block[1], launch.block[2],
                              launch.shared, stream_, nullptr, extra),
              launch.kernel);
    }
}

/* The network is asked in between, without the host looking at anything. */
void CudaRenderer::run_predicted(hz_frame frame, hz_predictor& predictor, double strength) {
    const size_t size = predictor.thumbnail_type == HZ_F16 ? 2 : 4;
    predicted_.composite.reserve(3 * kPlane * size);
    predicted_.coverage.reserve((predictor.regions ? 3 : 1) * kPlane * size);
    predicted_.arguments.reserve(static_cast<size_t>(predictor.numbers()) * sizeof(float));
    float* const arguments = static_cast<float*>(predicted_.arguments.pointer());
    void* const first = predicted_.composite.pointer();
    void* const second = predicted_.coverage.pointer();
    frame.workspace = prepare_workspace();
    (predictor.regions ? frame.foreground : frame.composite) = first;
    (predictor.regions ? frame.background : frame.coverage) = second;
    frame.thumbnail_type = predictor.thumbnail_type;
    frame.arguments = arguments;
    frame.strength = strength;
    frame.count = predictor.count;
    frame.stages = predictor.stages;
    std::copy_n(predictor.operations, predictor.count, frame.operations);
    Schedule measuring = schedule(frame, HZ_PHASE_MEASURE);
    Schedule drawing = schedule(frame, HZ_PHASE_DRAW);
    launch(measuring);
    {
        const Range range("harmonizer: predict");
        predictor.predict(first, second, arguments, stream_);
    }
    launch(drawing);
}

/* The driver reads the program before `upload` returns, as it is not pinned; but a graph, on whose
   stream nothing is copied yet, reads it at each launch. */
void CudaRenderer::upload_program(const hz_program& program) {
    const hz_program* source = &program;
    int capture = kNoCapture;
    check(driver().capture_status(stream_, &capture), "look at the stream");
    if (capture != kNoCapture) source = &captured_.emplace_front(program);
    check(driver().upload(workspace_.address(), source, sizeof *source, stream_),
          "upload the arguments");
}

/* Arguments (and statistics, if the frame says so) that the host gives. */
void CudaRenderer::run_given(hz_frame frame, const hz_program& program, int32_t phases) {
    frame.workspace = prepare_workspace();
    frame.strength = 1;
    frame.count = program.count;
    for (int i = 0; i < program.count; ++i) {
        frame.operations[i] = program.steps[i].operation;
        if (frame.operations[i] == HZ_OP_PIECEWISE_CURVE) frame.stages = program.curves.stages;
    }
    Schedule all = schedule(frame, phases);
    upload_program(program);
    launch(all);
}

void CudaRenderer::wait() { check(driver().wait_for_stream(stream_), "finish the queued work"); }

void CudaRenderer::queue_report() {
    pinned_report_.reserve(sizeof(hz_report));
    check(
        driver().download(pinned_report_.data(), workspace_.address(), sizeof(hz_report), stream_),
        "download the arguments");
}

hz_report CudaRenderer::arrived_report() const {
    hz_report report;
    std::memcpy(&report, pinned_report_.data(), sizeof report);
    /* What is predicted about nothing is not drawn. */
    constexpr uint32_t kVisible = HZ_SEEN_FOREGROUND | HZ_SEEN_THUMBNAIL;
    if (report.seen & HZ_SEEN_NOT_FINITE && (report.seen & kVisible) == kVisible)
        throw hz_api::BadModel(
            "the predictor must give finite arguments; it gave NaN or infinity. Check the model "
            "and its precision.");
    return report;
}

void CudaRenderer::run_with(const hz_frame& frame, hz_predictor* predictor, double strength,
                            const hz_program* given) {
    if (predictor) return run_predicted(frame, *predictor, strength);
    hz_program program = *given;
    hz_api::scale_arguments(program, strength);
    run_given(frame, program, HZ_PHASE_MEASURE | HZ_PHASE_DRAW);
}

void CudaRenderer::enqueue_surface(hz_predictor* predictor, const hz_surface& image,
                                   const hz_mask* mask, double strength, const hz_surface& out,
                                   const hz_program* program) {
    take_turn([&] {
        check_device_memory(image.luma, "image");
        check_device_memory(image.chroma, "image");
        if (mask) check_device_memory(mask->data, "mask");
        check_device_memory(out.luma, "out");
        check_device_memory(out.chroma, "out");
        hz_frame frame = {};
        frame.surface = &image;
        frame.surface_out = &out;
        if (mask) frame.mask = *mask;
        run_with(frame, predictor, strength, program);
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
        if (!given.surface) check_device_memory(given.image.data, "image");
        if (given.mask.data) check_device_memory(given.mask.data, "mask");
        if (!given.surface && phases & HZ_PHASE_DRAW) check_device_memory(given.out.data, "out");
        for (const hz_surface* surface : {given.surface, given.surface_out}) {
            if (!surface) continue;
            check_device_memory(surface->luma, "surface");
            check_device_memory(surface->chroma, "surface");
        }
        hz_frame frame = given;
        if (!frame.workspace) frame.workspace = prepare_workspace();
        Schedule all = schedule(frame, phases);
        launch(all);
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
    const std::string rule =
        std::string("`") + label + "` must be memory of device " + std::to_string(ordinal_) + "; ";
    int type = 0, owner = ordinal_;
    if (driver().pointer_attribute(&type, kMemoryType, address) != kSuccess)
        throw Invalid(rule +
                      "it is ordinary host memory. Upload it, or call "
                      "hz_renderer_harmonize.");
    if (type == kOnDevice &&
        driver().pointer_attribute(&owner, kDeviceOrdinal, address) == kSuccess &&
        owner != ordinal_)
        throw Invalid(rule + "it is on device " + std::to_string(owner) +
                      ". Create a renderer for that device, or copy it.");
}

/* The processor cannot read what is on a GPU alone; managed memory it can. */
void CudaRenderer::check_host_memory(const void* data, const char* label) const {
    const Address address = reinterpret_cast<uintptr_t>(data);
    int type = 0, managed = 0;
    if (driver().pointer_attribute(&type, kMemoryType, address) != kSuccess || type != kOnDevice)
        return;
    driver().pointer_attribute(&managed, kManaged, address);
    if (!managed)
        throw Invalid(std::string("`") + label +
                      "` must be in host memory; it is in a GPU's. Call "
                      "hz_renderer_enqueue, or download it.");
}

hz_renderer* make_cuda_renderer(const hz_renderer_options& options) {
    driver();
    return new CudaRenderer(options);
}

}  // namespace hz_cuda
