#include "cuda/driver.h"

#include <mutex>
#include <stdexcept>

#include "api/errors.h"
#include "api/system.h"

namespace hz_cuda {
namespace {

using hz_api::Unavailable;

#if defined(_WIN32)
constexpr const char* kLibrary = "nvcuda.dll";
#else
constexpr const char* kLibrary = "libcuda.so.1";
#endif

/* The library stays open for the life of the process: the driver does not survive being closed. */
Driver open_driver() {
    std::string reason;
    void* const library = hz_api::open_library(kLibrary, reason);
    if (!library)
        throw Unavailable("backend `cuda` needs an NVIDIA driver; " + reason +
                          ". Install the driver, or use backend `cpu`.");
    Driver opened;
    const char* missing = nullptr;
#define HZ_FIND(name, symbol, parameters)                                                          \
    opened.name = reinterpret_cast<Result(*) parameters>(hz_api::find_function(library, #symbol)); \
    if (!opened.name) missing = #symbol;
    HZ_DRIVER_FUNCTIONS(HZ_FIND)
#undef HZ_FIND
    if (missing) {
        hz_api::close_library(library);
        throw Unavailable(std::string("backend `cuda` needs a newer NVIDIA driver; ") + kLibrary +
                          " lacks " + missing + ". Update the driver, or use backend `cpu`.");
    }
    return opened;
}

std::string text_of(Result (*lookup)(Result, const char**), Result result) {
    const char* text = nullptr;
    return lookup(result, &text) == kSuccess && text ? text : "";
}

std::string describe_with(const Driver& opened, Result result) {
    std::string name = text_of(opened.error_name, result);
    if (name.empty()) name = "CUDA error " + std::to_string(result);
    const std::string meaning = text_of(opened.error_string, result);
    return meaning.empty() ? name : name + " (" + meaning + ")";
}

}  // namespace

const Driver& driver() {
    static std::mutex lock;
    static Driver opened;
    static bool found = false, ready = false;
    const std::lock_guard<std::mutex> guard(lock);
    if (!found) {
        opened = open_driver();
        found = true;
    }
    if (!ready) {
        const Result result = opened.init(0);
        if (result == kNoDevice)
            throw Unavailable(
                "backend `cuda` needs an NVIDIA GPU; the driver sees none. Check nvidia-smi and "
                "CUDA_VISIBLE_DEVICES, or use backend `cpu`.");
        if (result != kSuccess)
            throw Unavailable("backend `cuda` needs a working NVIDIA driver; cuInit failed with " +
                              describe_with(opened, result) +
                              ". Check nvidia-smi, or use backend `cpu`.");
        ready = true;
    }
    return opened;
}

std::string describe(Result result) { return describe_with(driver(), result); }

void check(Result result, const char* action) {
    if (result == kSuccess) return;
    if (result == kOutOfMemory)
        throw hz_api::DeviceMemoryFull(std::string(action) +
                                       " needs more memory than the GPU has free.");
    throw std::runtime_error(std::string("CUDA could not ") + action + ": " + describe(result) +
                             ".");
}

}  // namespace hz_cuda
