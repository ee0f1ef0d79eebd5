#pragma once

#include "cuda_shim.h"

namespace hz_emulation {

/* Run one block; `backwards` begins with its last thread, which a correct kernel cannot tell. False
   if threads wait for others that will never come. */
bool run_block(Index3 index, Index3 grid, unsigned int threads, bool backwards,
               void (*body)(const void*), const void* parameters);

}  // namespace hz_emulation
