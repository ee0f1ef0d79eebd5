/* A parallel loop over rows with threads that live for one call only, so that a process may fork
   between calls. */
#pragma once

#include <cstdint>
#include <functional>

#if defined(HZ_SPIN_LOCKS)
#include <atomic>
#elif !defined(HZ_NO_THREADS)
#include <mutex>
#endif

namespace hz_cpu {

#if defined(HZ_NO_THREADS)
/* What std::mutex and its guard are where there is one thread: nothing to keep apart. */
struct Mutex {};
struct Guard {
    explicit Guard(Mutex&) {}
};
#elif defined(HZ_SPIN_LOCKS)
/* Where the library has no std::mutex; held for some additions. */
struct Mutex {
    std::atomic<bool> held{false};
};
struct Guard {
    explicit Guard(Mutex& mutex) : mutex_(mutex) {
        while (mutex_.held.exchange(true)) continue;
    }
    ~Guard() { mutex_.held = false; }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

private:
    Mutex& mutex_;
};
#else
using Mutex = std::mutex;
using Guard = std::lock_guard<std::mutex>;
#endif

/* How the rows of a picture are shared out. The bands depend on the picture alone, so sums kept
   for each band and added in order do not depend on the number of threads. */
struct Bands {
    int64_t rows = 0;
    int64_t rows_per_band = 1;
    int count = 0;
    int threads = 1;
};

/* `pixels_per_band` is a wish; no more than `most_bands` are made. */
Bands make_bands(int64_t width, int64_t height, int64_t pixels_per_band, int most_bands,
                 int threads);

/* Call work(band, first row, end row) for every band, each once, in any order. */
void for_each_band(const Bands& bands, const std::function<void(int, int64_t, int64_t)>& work);

}  // namespace hz_cpu
