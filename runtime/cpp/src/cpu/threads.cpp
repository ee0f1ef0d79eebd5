#include "cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace hz_cpu {

void for_each_band(const Bands& bands, const std::function<void(int, int64_t, int64_t)>& work) {
    std::atomic<int> next{0};
    std::exception_ptr failure;
    Mutex failure_lock;
    const auto drain = [&] {
        try {
            for (int band = next++; band < bands.count; band = next++) {
                const int64_t first = band * bands.rows_per_band;
                work(band, first, std::min(first + bands.rows_per_band, bands.rows));
            }
        } catch (...) {
            const Guard guard(failure_lock);
            failure = std::current_exception();
        }
    };
    std::vector<std::thread> helpers;
    helpers.reserve(static_cast<size_t>(bands.threads - 1));
    for (int i = 1; i < bands.threads; ++i) {
        try {
            helpers.emplace_back(drain);
        } catch (...) {
            break; /* no more threads or memory: those that run do all the bands */
        }
    }
    drain();
    for (std::thread& helper : helpers) helper.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace hz_cpu
