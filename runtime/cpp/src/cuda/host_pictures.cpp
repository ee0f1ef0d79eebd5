/* The CUDA renderer's methods for pictures in host memory: up, drawn, and back. */
#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "cpu/threads.h"
#include "cuda/renderer.h"

namespace hz_cuda {
namespace {

constexpr int64_t kChunkBytes = 4 << 20; /* long enough for PCIe, short enough to overlap */
constexpr int64_t kMostChunks = 16;
constexpr int64_t kPixelsACopy = 1 << 16;
constexpr int kCopyThreads = 4;   /* that many fill the memory bus */
constexpr unsigned kNoTiming = 2; /* CU_EVENT_ */

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

hz_frame CudaRenderer::upload(const hz_image& image, const hz_mask* mask) {
    check_host_memory(image.data, "image");
    if (mask) check_host_memory(mask->data, "mask");
    uploads_ = true;
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
hz_report CudaRenderer::download(const hz_image& out, const Layout& layout, bool regions) {
    const Chunks chunks(layout);
    std::vector<std::unique_ptr<Marker>> arrivals;
    queue_report();
    for (int64_t row = 0; row < layout.height; row += chunks.rows) {
        chunks.transfer(
            row, std::min(row + chunks.rows, layout.height), [&](int64_t at, size_t bytes) {
                check(
                    driver().download(pinned_image_.data() + at,
                                      image_.address() + static_cast<Address>(at), bytes, stream_),
                    "download the picture");
            });
        arrivals.push_back(std::make_unique<Marker>(stream_));
    }
    const hz_image staged = layout.image_at(pinned_image_.data());
    hz_report report = {};
    for (size_t i = 0; i < arrivals.size(); ++i) {
        arrivals[i]->wait();
        if (i == 0) {
            report = arrived_report();
            if (regions) refuse_thin_region(report);
        }
        const int64_t row = static_cast<int64_t>(i) * chunks.rows;
        copy_in_parallel(staged, out, row, std::min(row + chunks.rows, layout.height));
    }
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
        check_host_memory(out.data, "out");
        hz_frame frame = upload(image, mask);
        frame.statistics_given = 1;
        run_given(frame, program, HZ_PHASE_MEASURE | HZ_PHASE_DRAW);
        download(out, layout_of(image), false);
    });
}

void CudaRenderer::harmonize(hz_predictor* predictor, const hz_image& image, const hz_mask* mask,
                             double strength, const hz_image& out, hz_program& program) {
    take_turn([&] {
        check_host_memory(out.data, "out");
        const hz_frame frame = upload(image, mask);
        run_with(frame, predictor, strength, &program);
        const bool regions = predictor && predictor->regions;
        program = download(out, layout_of(image), regions).program;
    });
}

}  // namespace hz_cuda
