#include "cpu/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "api/system.h"

namespace hz_cpu {
namespace {

/* Below this a thread's start costs more than it saves. */
constexpr int64_t kPixelsWorthAThread = 1 << 15;
constexpr int kMostThreads = 256;

}  // namespace

Bands make_bands(int64_t width, int64_t height, int64_t pixels_per_band, int most_bands,
                 int threads) {
    Bands bands;
    bands.rows = height;
    const int64_t wished = (pixels_per_band + width - 1) / width;
    const int64_t least = (height + most_bands - 1) / most_bands;
    bands.rows_per_band = std::max<int64_t>({1, wished, least});
    bands.count = static_cast<int>((height + bands.rows_per_band - 1) / bands.rows_per_band);
    const int64_t wanted = threads > 0 ? threads : hz_api::available_processors();
    const int64_t useful =
        width >= kPixelsWorthAThread ? height : width * height / kPixelsWorthAThread;
    bands.threads = static_cast<int>(std::max<int64_t>(
        1, std::min<int64_t>({wanted, useful, int64_t{bands.count}, int64_t{kMostThreads}})));
    return bands;
}

void for_each_band(const Bands& bands, const std::function<void(int, int64_t, int64_t)>& work) {
    std::atomic<int> next{0};
    std::exception_ptr failure;
    std::mutex failure_lock;
    const auto drain = [&] {
        try {
            for (int band = next++; band < bands.count; band = next++) {
                const int64_t first = band * bands.rows_per_band;
                work(band, first, std::min(first + bands.rows_per_band, bands.rows));
            }
        } catch (...) {
            const std::lock_guard<std::mutex> guard(failure_lock);
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
