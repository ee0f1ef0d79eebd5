/* Which instruction set's kernels run. */
#include <atomic>
#include <cstring>

#include "cpu/kernels.h"

#define HZ_DECLARE_KERNELS(space)                                                              \
    namespace space {                                                                          \
    bool sum_values(const hz_image&, const uint8_t (&)[3], int64_t, int64_t, hz_cpu::Sums&);   \
    void count_values(const hz_image&, int64_t, int64_t, uint64_t (*)[256]);                   \
    void sum_channels(const hz_image&, const hz_cpu::Steps&, bool, int64_t, int64_t, double*); \
    void render(const hz_cpu::RenderJob&, int64_t, int64_t);                                   \
    void evaluate(const hz_cpu::Steps&, int, double*, int);                                    \
    bool mark_foreground(const hz_mask&, int64_t, uint8_t*);                                   \
    void draw_region_row(const hz_cpu::RegionJob&, int);                                       \
    }
#define HZ_KERNELS(name, space)                                                     \
    {name,          space::sum_values, space::count_values,    space::sum_channels, \
     space::render, space::evaluate,   space::mark_foreground, space::draw_region_row}

#if defined(__x86_64__)
HZ_DECLARE_KERNELS(hz_x86_64)
HZ_DECLARE_KERNELS(hz_x86_64_v3)
HZ_DECLARE_KERNELS(hz_x86_64_v4)
#else
HZ_DECLARE_KERNELS(hz_generic)
#endif

namespace hz_cpu {
namespace {

/* Best first. */
constexpr Kernels kBuilt[] = {
#if defined(__x86_64__)
    HZ_KERNELS("x86-64-v4", hz_x86_64_v4),
    HZ_KERNELS("x86-64-v3", hz_x86_64_v3),
    HZ_KERNELS("x86-64", hz_x86_64),
#else
    HZ_KERNELS("generic", hz_generic),
#endif
};

bool runs_here(const Kernels& candidate) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (std::strcmp(candidate.name, "x86-64-v3") == 0) return v3;
    if (std::strcmp(candidate.name, "x86-64-v4") == 0)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    (void)candidate;
    return true;
}

std::atomic<const Kernels*> chosen{nullptr};

}  // namespace

const Kernels& kernels() {
    if (!chosen.load()) select_kernels(nullptr);
    return *chosen.load();
}

bool select_kernels(const char* name) {
    for (const Kernels& candidate : kBuilt)
        if ((!name || std::strcmp(name, candidate.name) == 0) && runs_here(candidate)) {
            chosen = &candidate;
            return true;
        }
    return false;
}

}  // namespace hz_cpu
