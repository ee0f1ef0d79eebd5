/* Thumbnails made on a GPU and brought to the host. */
#include <algorithm>

#include "api/checks.h"
#include "cuda/renderer.h"

namespace hz_cuda {

void CudaRenderer::thumbnail(const hz_image& image, const hz_mask* mask, float* composite,
                             float* coverage) {
    take_turn([&] {
        hz_frame frame = upload(image, mask);
        predicted_.composite.reserve(3 * kPlane * sizeof(float));
        predicted_.coverage.reserve(kPlane * sizeof(float));
        frame.composite = predicted_.composite.pointer();
        frame.coverage = predicted_.coverage.pointer();
        bring_thumbnails(frame, 1, composite, coverage);
    });
}

void CudaRenderer::region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                                     float* background) {
    take_turn([&] {
        hz_frame frame = upload(image, &mask);
        predicted_.composite.reserve(3 * kPlane * sizeof(float));
        predicted_.coverage.reserve(3 * kPlane * sizeof(float));
        frame.foreground = predicted_.composite.pointer();
        frame.background = predicted_.coverage.pointer();
        bring_thumbnails(frame, 3, foreground, background);
        const hz_report report = arrived_report();
        if (!(report.seen & HZ_SEEN_FOREGROUND)) hz_api::refuse_empty_region();
        refuse_thin_region(report);
    });
}

void CudaRenderer::refuse_thin_region(const hz_report& report) {
    if (!(report.seen & HZ_SEEN_FOREGROUND) || report.seen & HZ_SEEN_THUMBNAIL) return;
    hz_api::refuse_thin_region("one that is 1 pixel high or wide");
}

/* Three planes of the first and `second_planes` of the second, and the report. */
void CudaRenderer::bring_thumbnails(const hz_frame& wanted, size_t second_planes, float* first,
                                    float* second) {
    constexpr size_t kFirst = 3 * kPlane;
    const size_t rest = second_planes * kPlane;
    pinned_thumbnails_.reserve((kFirst + rest) * sizeof(float));
    hz_frame frame = wanted;
    frame.workspace = prepare_workspace();
    frame.thumbnail_type = HZ_F32;
    frame.strength = 1;
    Schedule all = schedule(frame, HZ_PHASE_MEASURE);
    launch(all);
    auto* const arrived = reinterpret_cast<float*>(pinned_thumbnails_.data());
    check(
        driver().download(arrived, predicted_.composite.address(), kFirst * sizeof(float), stream_),
        "download the thumbnails");
    check(driver().download(arrived + kFirst, predicted_.coverage.address(), rest * sizeof(float),
                            stream_),
          "download the thumbnails");
    queue_report();
    wait();
    std::copy_n(arrived, kFirst, first);
    std::copy_n(arrived + kFirst, rest, second);
}

}  // namespace hz_cuda
