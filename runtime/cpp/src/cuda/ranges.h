/* A named range round what is queued, so that a profile can be read; nothing without
   HARMONIZER_NVTX. NVTX is a header: a profiler that is there brings its own library. */
#pragma once

#ifdef HARMONIZER_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace hz_cuda {

class Range {
public:
#ifdef HARMONIZER_NVTX
    explicit Range(const char* stage) { nvtxRangePushA(stage); }
    ~Range() { nvtxRangePop(); }
#else
    explicit Range(const char*) {}
    ~Range() {}
#endif
    Range(const Range&) = delete;
    Range& operator=(const Range&) = delete;
};

}  // namespace hz_cuda
