/* C++17 over harmonizer_surface.h: decoders' surfaces in device memory, NV12 and its deeper likes.

       const auto surface = harmonizer::SurfaceView::nv12(luma, chroma, width, height, pitch);
       harmonizer::enqueue(renderer, surface, mask, surface, look);

   Header only. Views own nothing. */
#ifndef HARMONIZER_SURFACE_HPP
#define HARMONIZER_SURFACE_HPP

#include "harmonizer.hpp"
#include "harmonizer_surface.h"

namespace harmonizer {

class SurfaceView {
public:
    /* Two planes with rows of `pitch` bytes; matrix HZ_BT709, HZ_BT601 or HZ_BT2020. */
    static SurfaceView nv12(void* luma, void* chroma, int64_t width, int64_t height, int64_t pitch,
                            int32_t matrix = HZ_BT709, bool full_range = false) {
        return SurfaceView({luma, chroma, width, height, pitch, pitch, 8, matrix, full_range});
    }
    /* bits: 10, or 12 and 16 for P012 and P016. */
    static SurfaceView p010(void* luma, void* chroma, int64_t width, int64_t height, int64_t pitch,
                            int32_t matrix = HZ_BT709, bool full_range = false, int32_t bits = 10) {
        return SurfaceView({luma, chroma, width, height, pitch, pitch, bits, matrix, full_range});
    }
    static SurfaceView of(const hz_surface& surface) { return SurfaceView(surface); }

    const hz_surface* get() const noexcept { return &surface_; }

private:
    explicit SurfaceView(const hz_surface& surface) : surface_(surface) {}
    hz_surface surface_;
};

/* Renderer::enqueue for surfaces: queued on the renderer's stream, "cuda" only. */
inline void enqueue(Renderer& renderer, const SurfaceView& image, const MaskView& mask,
                    const SurfaceView& out, const Program& look, double strength = 1) {
    detail::check(hz_renderer_enqueue_surface(renderer.get(), nullptr, image.get(), mask.get(),
                                              strength, out.get(), look.get()));
}

inline void enqueue(Renderer& renderer, const SurfaceView& image, const MaskView& mask,
                    const SurfaceView& out, Predictor& predictor, double strength = 1) {
    predictor.check(hz_renderer_enqueue_surface(renderer.get(), predictor.get(), image.get(),
                                                mask.get(), strength, out.get(), nullptr));
}

}  // namespace harmonizer

#endif
