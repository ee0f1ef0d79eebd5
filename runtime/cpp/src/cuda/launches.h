/* The list that hz_cuda_schedule fills. */
#pragma once

#include <cstring>
#include <string>

#include "api/errors.h"
#include "harmonizer_cuda.h"

namespace hz_cuda {

class Launches {
public:
    Launches(hz_launch* launches, int32_t capacity) : launches_(launches), capacity_(capacity) {
        if (capacity < 0)
            throw hz_api::Invalid("capacity must be 0 or more; got " + std::to_string(capacity) +
                                  ". HZ_MOST_LAUNCHES suffice.");
    }

    template <typename Parameters>
    void add(const char* kernel, int64_t blocks, int threads, const Parameters& parameters) {
        static_assert(sizeof parameters <= HZ_PARAMETER_BYTES);
        if (count_ >= capacity_)
            throw hz_api::Invalid("capacity must be at least the number of launches; got " +
                                  std::to_string(capacity_) + ". HZ_MOST_LAUNCHES suffice.");
        hz_launch& launch = launches_[count_++];
        launch = {};
        launch.kernel = kernel;
        launch.grid[0] = static_cast<uint32_t>(blocks);
        launch.block[0] = static_cast<uint32_t>(threads);
        launch.grid[1] = launch.grid[2] = launch.block[1] = launch.block[2] = 1;
        launch.size = sizeof parameters;
        std::memcpy(launch.parameters, &parameters, sizeof parameters);
    }
    int32_t count() const { return count_; }

private:
    hz_launch* launches_;
    int32_t capacity_, count_ = 0;
};

}  // namespace hz_cuda
