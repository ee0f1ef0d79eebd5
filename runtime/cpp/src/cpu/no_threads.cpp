/* Stands in for threads.cpp where a program has one thread: with HZ_NO_THREADS. */
#include <algorithm>

#include "api/system.h"
#include "cpu/threads.h"

namespace hz_cpu {

void for_each_band(const Bands& bands, const std::function<void(int, int64_t, int64_t)>& work) {
    for (int band = 0; band < bands.count; ++band) {
        const int64_t first = band * bands.rows_per_band;
        work(band, first, std::min(first + bands.rows_per_band, bands.rows));
    }
}

}  // namespace hz_cpu

int hz_api::available_processors() { return 1; }
