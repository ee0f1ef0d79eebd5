/* C++17 over harmonizer_video.h: decoders' surfaces in device memory, NV12 and its deeper likes.

       const auto surface = harmonizer::VideoView::nv12(luma, chroma, width, height, pitch);
       harmonizer::enqueue(renderer, surface, mask, surface, look);

   Header only. Views own nothing. */
#ifndef HARMONIZER_VIDEO_HPP
#define HARMONIZER_VIDEO_HPP

#include "harmonizer.hpp"
#include "harmonizer_video.h"

namespace harmonizer {

class VideoView {
public:
    /* Two planes with rows of `pitch` bytes; matrix HZ_BT709, HZ_BT601 or HZ_BT2020. */
    static VideoView nv12(void* luma, void* chroma, int64_t width, int64_t height, int64_t pitch,
                          int32_t matrix = HZ_BT709, bool full_range = false) {
        return VideoView({luma, chroma, width, height, pitch, pitch, 8, matrix, full_range});
    }
    /* bits: 10, or 12 and 16 for P012 and P016. */
    static VideoView p010(void* luma, void* chroma, int64_t width, int64_t height, int64_t pitch,
                          int32_t matrix = HZ_BT709, bool full_range = false, int32_t bits = 10) {
        return VideoView({luma, chroma, width, height, pitch, pitch, bits, matrix, full_range});
    }
    static VideoView of(const hz_video& video) { return VideoView(video); }

    const hz_video* get() const noexcept { return &video_; }

private:
    explicit VideoView(const hz_video& video) : video_(video) {}
    hz_video video_;
};

/* Renderer::enqueue for surfaces: queued on the renderer's stream, "cuda" only. */
inline void enqueue(Renderer& renderer, const VideoView& image, const MaskView& mask,
                    const VideoView& out, const Program& look, double strength = 1) {
    detail::check(hz_renderer_enqueue_video(renderer.get(), nullptr, image.get(), mask.get(),
                                            strength, out.get(), look.get()));
}

inline void enqueue(Renderer& renderer, const VideoView& image, const MaskView& mask,
                    const VideoView& out, Predictor& predictor, double strength = 1) {
    predictor.check(hz_renderer_enqueue_video(renderer.get(), predictor.get(), image.get(),
                                              mask.get(), strength, out.get(), nullptr));
}

}  // namespace harmonizer

#endif
