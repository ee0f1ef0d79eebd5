/* Draw a prepared program: out = M*F(I) + (1-M)*I, one thread a pixel.

   Images are 8-bit RGB without padding, masks 8-bit; a null mask means the whole image. `out` may
   be `image`. Constants are prepared on the host, in double (prepare_step of hz_pixel.h). The
   _f64 kernel is for programs with powers near 0 or gains in the hundreds, whose rounding errors
   in float would show. */
#include "hz_pixel.h"

namespace {

template <typename T>
__device__ unsigned char level_of(T value) {
    return (unsigned char)(value * T(255) + T(0.5));
}

template <typename T>
__device__ void apply(const unsigned char* image, const unsigned char* mask, unsigned char* out,
                      unsigned long long pixels, const hz::Program<T>& program) {
    const unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= pixels) return;
    const unsigned char* source = image + 3 * i;
    unsigned char* target = out + 3 * i;
    const unsigned char coverage = mask ? mask[i] : 255;
    if (coverage == 0) {
        for (int c = 0; c < 3; ++c) target[c] = source[c];
        return;
    }
    const T red = T(source[0]) / T(255), green = T(source[1]) / T(255),
            blue = T(source[2]) / T(255);
    T r = red, g = green, b = blue;
    for (int step = 0; step < program.count; ++step) hz::apply_step(program.steps[step], r, g, b);
    const T m = T(coverage) / T(255), rest = T(1) - m;
    target[0] = level_of(m * r + rest * red);
    target[1] = level_of(m * g + rest * green);
    target[2] = level_of(m * b + rest * blue);
}

}  // namespace

extern "C" __global__ void hz_apply_f32(const unsigned char* image, const unsigned char* mask,
                                        unsigned char* out, unsigned long long pixels,
                                        hz::Program<float> program) {
    apply(image, mask, out, pixels, program);
}

extern "C" __global__ void hz_apply_f64(const unsigned char* image, const unsigned char* mask,
                                        unsigned char* out, unsigned long long pixels,
                                        hz::Program<double> program) {
    apply(image, mask, out, pixels, program);
}
