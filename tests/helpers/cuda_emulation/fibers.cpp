/* Threads of a block as fibers: each runs until it waits for the others. */
#include "fibers.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "cuda_shim.h"

#if defined(__SANITIZE_ADDRESS__)
#define HZ_SANITIZED 1
#else
#define HZ_SANITIZED 0
#endif

thread_local Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace hz_emulation {
namespace {

constexpr size_t kStack = size_t{256} << 10;
constexpr unsigned int kMostThreads = 1024, kWarp = 32;

/* A saved place to go on from. The address sanitizer knows only swapcontext, which asks the system
   for the signal mask at each switch; otherwise jumps do, once a fiber has begun. */
struct Place {
    ucontext_t context = {};
    jmp_buf buffer;
    bool begun = false;
};

void switch_to(Place& from, Place& to) {
    from.begun = true;
    if (HZ_SANITIZED || !to.begun) {
        to.begun = true;
        if (!HZ_SANITIZED && _setjmp(from.buffer)) return;
        if (HZ_SANITIZED)
            swapcontext(&from.context, &to.context);
        else
            setcontext(&to.context);
        return;
    }
    if (!_setjmp(from.buffer)) _longjmp(to.buffer, 1);
}

struct Fiber {
    Place place;
    Index3 index;
    bool finished = true;
    bool waits = false;
};

struct Meeting {
    unsigned int arrived = 0, round = 0;
};

struct Warp {
    Meeting meeting;
    uint64_t values[2][kWarp];
};

struct Block {
    Place scheduler;
    std::unique_ptr<Fiber[]> fibers{new Fiber[kMostThreads]};
    Warp warps[kMostThreads / kWarp];
    Meeting meeting;
    Votes gathering, votes[2];
    Fiber* current = nullptr;
    unsigned int threads = 0, running = 0;
    bool progressed = false;
    void (*body)(const void*) = nullptr;
    const void* parameters = nullptr;
    std::vector<void*> stacks;

    ~Block() {
        for (void* stack : stacks) munmap(stack, kStack);
    }
    void* new_stack() {
        void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) throw std::runtime_error("no memory for a fiber's stack");
        stacks.push_back(stack);
        return stack;
    }
};

thread_local Block block;

void yield() {
    Fiber& fiber = *block.current;
    switch_to(fiber.place, block.scheduler);
}

/* Runs one kernel after another. */
void fiber_main() {
    for (;;) {
        block.body(block.parameters);
        block.current->finished = true;
        --block.running;
        block.progressed = true;
        yield();
    }
}

void begin(Fiber& fiber) {
    getcontext(&fiber.place.context);
    fiber.place.context.uc_stack.ss_sp = block.new_stack();
    fiber.place.context.uc_stack.ss_size = kStack;
    fiber.place.context.uc_link = nullptr;
    makecontext(&fiber.place.context, fiber_main, 0);
}

void wait_for(const Meeting& meeting, unsigned int round) {
    while (meeting.round == round) yield();
}

}  // namespace

Votes meet_in_block(int vote) {
    Meeting& meeting = block.meeting;
    const unsigned int round = meeting.round;
    Votes& gathering = block.gathering;
    if (meeting.arrived == 0) gathering = {0, 1};
    gathering.any |= vote != 0;
    gathering.all &= vote != 0;
    block.progressed = true;
    if (++meeting.arrived == block.threads) {
        block.votes[round % 2] = gathering;
        meeting.arrived = 0;
        ++meeting.round;
    }
    wait_for(meeting, round);
    return block.votes[round % 2];
}

const uint64_t* meet_in_warp(uint64_t value) {
    Warp& warp = block.warps[threadIdx.x / kWarp];
    Meeting& meeting = warp.meeting;
    const unsigned int round = meeting.round;
    warp.values[round % 2][threadIdx.x % kWarp] = value;
    block.progressed = true;
    if (++meeting.arrived == kWarp) {
        meeting.arrived = 0;
        ++meeting.round;
    }
    wait_for(meeting, round);
    return warp.values[round % 2];
}

bool run_block(Index3 index, Index3 grid, unsigned int threads, bool backwards,
               void (*body)(const void*), const void* parameters) {
    block.threads = block.running = threads;
    block.body = body;
    block.parameters = parameters;
    blockIdx = index;
    gridDim = grid;
    blockDim = {threads, 1, 1};
    for (unsigned int i = 0; i < threads; ++i) {
        Fiber& fiber = block.fibers[i];
        if (!fiber.place.begun && fiber.place.context.uc_stack.ss_sp == nullptr) begin(fiber);
        fiber.index = {i, 0, 0};
        fiber.finished = false;
    }
    while (block.running) {
        block.progressed = false;
        for (unsigned int i = 0; i < threads; ++i) {
            Fiber& fiber = block.fibers[backwards ? threads - 1 - i : i];
            if (fiber.finished) continue;
            block.current = &fiber;
            threadIdx = fiber.index;
            switch_to(block.scheduler, fiber.place);
        }
        if (!block.progressed) {
            /* Some wait for others that have finished, or that wait elsewhere. These fibers cannot be
               finished: their stacks stay behind, new ones replace them. */
            block.fibers.reset(new Fiber[kMostThreads]);
            for (Warp& warp : block.warps) warp.meeting = {};
            block.meeting = {};
            return false;
        }
    }
    return true;
}

}  // namespace hz_emulation
