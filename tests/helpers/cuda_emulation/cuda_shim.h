/* The part of CUDA's language that runtime/kernels uses, for g++: each thread of a block is a fiber,
   and blocks run one after another on the calling thread. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ /* empty, for the headers that write it as an attribute */
#define __launch_bounds__(...)
/* One block runs at a time on a thread. */
#define __shared__ static thread_local

/* See hz_pixel.h: the float functions that a GPU has of its own, defined below. */
#define HZ_GPU_FLOAT

struct Index3 {
    unsigned int x, y, z;
};
extern thread_local Index3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};

namespace hz_emulation {

/* Wait for all threads of the block that are still running, and combine what they bring. */
struct Votes {
    int any, all;
};
Votes meet_in_block(int vote);

/* Wait for the 32 threads of the warp; they may read each other's values until they meet again. */
const uint64_t* meet_in_warp(uint64_t value);

/* In [-1, 1], by the bits of `value`: where between the documented bounds of an approximate
   instruction its result lies. */
inline float wobble(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits ^ bits >> 15) * 0x2c1b3c6du;
    bits = (bits ^ bits >> 12) * 0x297a2d39u;
    return static_cast<float>(bits ^ bits >> 15) / 2147483648.0f - 1.0f;
}
constexpr float kApproximation = 1.0f / (1 << 22);

}  // namespace hz_emulation

inline void __syncthreads() { hz_emulation::meet_in_block(0); }
inline int __syncthreads_or(int vote) { return hz_emulation::meet_in_block(vote).any; }
inline int __syncthreads_and(int vote) { return hz_emulation::meet_in_block(vote).all; }
inline void __syncwarp() { hz_emulation::meet_in_warp(0); }
inline void __threadfence() {}

inline int __any_sync(unsigned int, int vote) {
    const uint64_t* votes = hz_emulation::meet_in_warp(vote != 0);
    int any = 0;
    for (int i = 0; i < 32; ++i) any |= static_cast<int>(votes[i]);
    return any;
}

inline double __shfl_down_sync(unsigned int, double value, int apart) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t* values = hz_emulation::meet_in_warp(bits);
    const unsigned int lane = threadIdx.x % 32;
    bits = values[lane + apart < 32 ? lane + apart : lane];
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned int __shfl_down_sync(unsigned int, unsigned int value, int apart) {
    const uint64_t* values = hz_emulation::meet_in_warp(value);
    const unsigned int lane = threadIdx.x % 32;
    return static_cast<unsigned int>(values[lane + apart < 32 ? lane + apart : lane]);
}

inline unsigned int atomicAdd(unsigned int* address, unsigned int value) {
    const unsigned int before = *address;
    *address += value;
    return before;
}
inline unsigned int atomicOr(unsigned int* address, unsigned int value) {
    const unsigned int before = *address;
    *address |= value;
    return before;
}
inline unsigned int atomicMax(unsigned int* address, unsigned int value) {
    const unsigned int before = *address;
    if (value > before) *address = value;
    return before;
}
inline unsigned int atomicExch(unsigned int* address, unsigned int value) {
    const unsigned int before = *address;
    *address = value;
    return before;
}

/* What it says of caches changes no value. */
template <typename T>
inline T __ldcs(const T* address) {
    return *address;
}
template <typename T>
inline T __ldg(const T* address) {
    return *address;
}

inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned int __byte_perm(unsigned int a, unsigned int b, unsigned int selector) {
    const uint64_t bytes = a | static_cast<uint64_t>(b) << 32;
    unsigned int result = 0;
    for (int i = 0; i < 4; ++i)
        result |= static_cast<unsigned int>(bytes >> (8 * (selector >> (4 * i) & 7)) & 255)
                  << (8 * i);
    return result;
}

inline float __saturatef(float v) { return v > 0 ? v < 1 ? v : 1.0f : 0.0f; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
/* PTX ISA: rcp.approx errs by 1 unit in the last place. */
inline float rcp_approx(float v) {
    return 1.0f / v * (1.0f + 0.5f * hz_emulation::kApproximation * hz_emulation::wobble(v));
}
/* PTX ISA: lg2.approx errs by 2^-22, absolutely between 1/2 and 2, relatively elsewhere. */
inline float lg2_approx(float v) {
    const float exact = log2f(v), error = hz_emulation::kApproximation * hz_emulation::wobble(v);
    if (v == 1.0f) return 0.0f;
    return exact + (v > 0.5f && v < 2.0f ? error : error * exact);
}
inline float ex2_approx(float v) {
    if (v == 0.0f) return 1.0f;
    return exp2f(v) * (1.0f + hz_emulation::kApproximation * hz_emulation::wobble(v));
}
inline unsigned short half_of(float value) {
    const _Float16 half = static_cast<_Float16>(value);
    unsigned short bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}
