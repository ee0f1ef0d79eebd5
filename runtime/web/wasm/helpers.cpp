/* Threads of the renderer's module where it has shared memory: in place of threads.cpp, and in that
   build alone. Helpers are workers of the browser, started by JavaScript, that stay in
   hz_web_help(). A band must neither allocate nor throw, which the library's memory and exceptions
   are not made for: those of measuring and drawing do not. */
#include <algorithm>
#include <atomic>

#include "api/system.h"
#include "cpu/threads.h"

extern "C" {
void hz_web_help(void);
}

namespace hz_cpu {
namespace {

struct Loop {
    const Bands* bands;
    const std::function<void(int, int64_t, int64_t)>* work;
    std::atomic<int> next;
};

constexpr int kOpen = 1 << 30;

Loop loop;
/* How many helpers are at work, and kOpen while more may join. */
std::atomic<int> state{0};
/* How many loops there were: what helpers wait for. */
std::atomic<int> begun{0};

int* place(std::atomic<int>& value) { return reinterpret_cast<int*>(&value); }

void wait(std::atomic<int>& value, int old) {
    __builtin_wasm_memory_atomic_wait32(place(value), old, -1);
}

void wake(std::atomic<int>& value, int count) {
    __builtin_wasm_memory_atomic_notify(place(value), static_cast<unsigned>(count));
}

void drain() {
    const Bands& bands = *loop.bands;
    for (int band = loop.next++; band < bands.count; band = loop.next++) {
        const int64_t first = band * bands.rows_per_band;
        (*loop.work)(band, first, std::min(first + bands.rows_per_band, bands.rows));
    }
}

bool join() {
    int seen = state;
    while (seen & kOpen)
        if (state.compare_exchange_weak(seen, seen + 1)) return true;
    return false;
}

}  // namespace

void for_each_band(const Bands& bands, const std::function<void(int, int64_t, int64_t)>& work) {
    loop.bands = &bands;
    loop.work = &work;
    loop.next = 0;
    if (bands.threads <= 1) return drain();
    state = kOpen;
    ++begun;
    wake(begun, bands.threads - 1);
    drain();
    state -= kOpen; /* who has not joined by now is not waited for */
    for (int helping = state; helping != 0; helping = state) wait(state, helping);
}

}  // namespace hz_cpu

int hz_api::available_processors() { return 1; }

/* What a helper does for as long as it lives. */
void hz_web_help(void) {
    using namespace hz_cpu;
    for (int seen = begun;; seen = begun) {
        if (join()) {
            drain();
            if (--state == 0) wake(state, 1);
        }
        wait(begun, seen);
    }
}
