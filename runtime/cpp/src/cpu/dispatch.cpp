/* Which instruction set's kernels run. */
#include <atomic>
#include <cstring>

#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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
#define HZ_KERNELS(name, pieces, space) \
    {name,                              \
     pieces,                            \
     space::sum_values,                 \
     space::count_values,               \
     space::sum_channels,               \
     space::render,                     \
     space::evaluate,                   \
     space::mark_foreground,            \
     space::draw_region_row}

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
    HZ_KERNELS("x86-64-v4", true, hz_x86_64_v4),
    HZ_KERNELS("x86-64-v3", false, hz_x86_64_v3),
    HZ_KERNELS("x86-64", false, hz_x86_64),
#else
    HZ_KERNELS("generic", false, hz_generic),
#endif
};

#if defined(__x86_64__)
/* The processor itself is asked: `__builtin_cpu_supports` answers "no" to all where Zig links. */
bool has_bits(unsigned leaf, int part, unsigned bits) {
    unsigned answer[4] = {};
    return __get_cpuid_count(leaf, 0, &answer[0], &answer[1], &answer[2], &answer[3]) &&
           (answer[part] & bits) == bits;
}

/* Whether the system keeps these registers when it switches threads (bits of XCR0). */
bool keeps_registers(unsigned bits) {
    if (!has_bits(1, 2, bit_OSXSAVE)) return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & bits) == bits;
}
#endif

bool runs_here(const Kernels& candidate) {
#if defined(__x86_64__)
    const bool v3 = keeps_registers(0x06) && /* SSE, AVX */
                    has_bits(1, 2, bit_AVX | bit_FMA | bit_F16C | bit_MOVBE) &&
                    has_bits(7, 1, bit_AVX2 | bit_BMI | bit_BMI2) &&
                    has_bits(0x80000001, 2, bit_LZCNT);
    if (std::strcmp(candidate.name, "x86-64-v3") == 0) return v3;
    if (std::strcmp(candidate.name, "x86-64-v4") == 0)
        return v3 && keeps_registers(0xe6) && /* and those of AVX-512 */
               has_bits(7, 1,
                        bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL);
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
