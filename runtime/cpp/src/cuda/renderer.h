/* One GPU behind a handle. */
#pragma once

#include <forward_list>
#include <map>
#include <mutex>
#include <string>

#include "api/renderer.h"
#include "cuda/device_context.h"
#include "cuda/device_memory.h"
#include "cuda/staging.h"
#include "harmonizer_cuda.h"

namespace hz_cuda {

constexpr int64_t kPlane = int64_t{HZ_THUMBNAIL_SIZE} * HZ_THUMBNAIL_SIZE;

/* A frame's predictor inputs and its answer, in device memory; of a predictor of regions, the first
   two are foreground and background. */
struct PredictorBuffers {
    DeviceBuffer composite, coverage, arguments;
};

/* What hz_cuda_schedule returns. */
struct Schedule {
    const char* stage = "harmonizer: draw"; /* for profiles */
    hz_launch launches[HZ_MOST_LAUNCHES];
    int32_t count = 0;
};

/* Calls take turns: the workspace and the staging memory are one frame's. */
class CudaRenderer final : public hz_renderer {
public:
    explicit CudaRenderer(const hz_renderer_options& options);
    ~CudaRenderer() override;

    void measure(const hz_image& image, hz_program& program) override;
    void render(const hz_image& image, const hz_mask* mask, const hz_program& program,
                const hz_image& out) override;
    void thumbnail(const hz_image& image, const hz_mask* mask, float* composite,
                   float* coverage) override;
    void region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                           float* background) override;
    void harmonize(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                   double strength, const hz_image& out, hz_program& program) override;
    void enqueue(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                 double strength, const hz_image& out, const hz_program* program) override;
    void enqueue_surface(hz_predictor* predictor, const hz_surface& image, const hz_mask* mask,
                         double strength, const hz_surface& out,
                         const hz_program* program) override;
    void enqueue_frame(const hz_frame& frame, int32_t phases) override;
    void synchronize(hz_program* program) override;
    int device() const override { return ordinal_; }

    Context context() const { return device_.context(); }
    Stream stream() const { return stream_; }

private:
    template <typename Work>
    void take_turn(const Work& work);
    Function kernel(const char* kernel_name, uint32_t shared);
    void* prepare_workspace();
    Schedule schedule(hz_frame frame, int32_t phases) const;
    void launch(Schedule& schedule);
    void run_predicted(hz_frame frame, hz_predictor& predictor, double strength);
    void run_given(hz_frame frame, const hz_program& program, int32_t phases);
    void upload_program(const hz_program& program);
    void run_with(const hz_frame& frame, hz_predictor* predictor, double strength,
                  const hz_program* given);
    hz_frame upload(const hz_image& image, const hz_mask* mask);
    template <typename Picture>
    Layout upload_picture(const Picture& picture, DeviceBuffer& target, PinnedBuffer& pinned);
    void bring_thumbnails(const hz_frame& frame, size_t second_planes, float* first, float* second);
    hz_report download(const hz_image& out, const Layout& layout, bool regions);
    static void refuse_thin_region(const hz_report& report);
    void queue_report();
    hz_report arrived_report() const;
    void wait();
    void check_device_memory(const void* data, const char* label) const;
    void check_host_memory(const void* data, const char* label) const;
    void release();

    int ordinal_;
    DeviceContext device_;
    std::mutex lock_;
    Stream stream_ = nullptr;
    bool own_stream_ = false;
    Module module_ = nullptr;
    std::map<std::string, Function> kernels_;
    DeviceBuffer workspace_, image_, mask_;
    PredictorBuffers predicted_;
    PinnedBuffer pinned_image_, pinned_mask_, pinned_report_, pinned_thumbnails_;
    std::forward_list<hz_program> captured_; /* graphs read them when they are launched */
    bool workspace_ready_ = false;
    bool uploads_ = false; /* whether the turn has queued copies from the staging memory */
};

template <typename Work>
void CudaRenderer::take_turn(const Work& work) {
    const std::lock_guard<std::mutex> guard(lock_);
    const Current current(context());
    uploads_ = false;
    try {
        work();
    } catch (const hz_api::Invalid&) {
        if (uploads_) driver().wait_for_stream(stream_);
        throw; /* frames are scheduled before they are queued */
    } catch (...) {
        workspace_ready_ = false;
        driver().wait_for_stream(stream_); /* what was queued may use the staging memory */
        throw;
    }
}

}  // namespace hz_cuda
