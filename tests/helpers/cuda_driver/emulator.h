/* An emulated CUDA driver: host memory stands for device memory, kernels run on the CPU.

   PyCUDA, cuda-bindings and this project's own host code load it in place of libcuda.so.1, so that
   everything but the GPU itself is what runs in production. Streams are queues that run as late as
   the rules of CUDA allow (or at once, HZ_EMULATED_STREAMS=eager), which makes a missing wait show
   as a wrong result every time instead of now and then.

   HZ_EMULATION_LIBRARY   library with hz_emulate, which runs a launch on the CPU
   HZ_EMULATED_STREAMS    "late" (default) or "eager"
   HZ_EMULATED_MEMORY     bytes of device memory (1 GiB)
   HZ_EMULATED_DRIVER     version to report, as cuDriverGetVersion does (13000)
   HZ_EMULATED_DEVICES    how many devices there are (1)
   HZ_EMULATED_INIT       the CUresult of cuInit (0)
   HZ_EMULATED_CAPABILITY compute capability, major*10+minor (86) */
#ifndef HZ_EMULATOR_H
#define HZ_EMULATOR_H

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define HZ_EXPORT extern "C" __attribute__((visibility("default")))

namespace emulator {

struct Capture;

/* One entry of a queue: work, or a wait until `stream` has come to `position`. */
struct Operation {
    std::function<CUresult()> work;
    CUstream stream = nullptr;
    uint64_t position = 0;
};

struct Allocation {
    size_t size, mapped;
    void* base; /* of the mapping; a page that nobody may touch follows the end */
};

struct Graph {
    std::vector<Operation> operations;
};

struct Module {
    std::vector<unsigned char> image;
};

struct Counts { /* what tests ask about */
    int64_t device_allocations, device_bytes, pinned_allocations, streams, events, modules, graphs;
    int64_t launches, graph_launches, copies, pageable_copies, busy_frees, primary_retained, peak;
};

struct State {
    std::recursive_mutex mutex;
    std::map<uintptr_t, Allocation> device, pinned;
    std::set<CUstream> streams;
    std::set<CUevent> events;
    std::set<CUmodule> modules;
    Counts counts = {};
    int64_t memory = 0;
    int64_t fail_after = -1;        /* allocations that still succeed; -1: all */
    CUresult broken = CUDA_SUCCESS; /* a failed kernel leaves the context broken, as on a GPU */
    bool eager = false;
};

State& state();
int setting(const char* name, int fallback);
CUresult require_context();
CUresult allocation_allowed();

/* The allocation that holds [address, address + size), or null. */
const Allocation* find(const std::map<uintptr_t, Allocation>& map, uintptr_t address, size_t size);

CUresult enqueue(CUstream stream, std::function<CUresult()> work);
CUresult finish(CUstream stream);
CUresult finish_all();
bool busy();

}  // namespace emulator

struct CUstream_st {
    bool blocking = true;
    std::deque<emulator::Operation> queue;
    uint64_t issued = 0, done = 0;
    emulator::Capture* capture = nullptr;
    uint64_t captured = 0, joined = 0;
};

struct CUevent_st {
    bool recorded = false, timed = true;
    CUstream stream = nullptr;
    uint64_t position = 0;
    emulator::Capture* capture = nullptr;
    double time_ms = 0;
};

struct CUctx_st {
    int device;
};

struct CUmod_st : emulator::Module {};
struct CUgraph_st : emulator::Graph {};
struct CUgraphExec_st : emulator::Graph {};

struct CUfunc_st {
    std::string name;
};

struct emulator::Capture {
    Graph graph;
    CUstream origin = nullptr;
    std::set<CUstream> streams;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::thread::id thread;
    bool invalid = false;
};

#endif
