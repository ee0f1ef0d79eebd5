#include "cuda/device_context.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "api/errors.h"
#include "api/system.h"

namespace hz_cuda {
namespace {

using hz_api::Invalid;
using hz_api::Unavailable;

constexpr int64_t kMostBytes = int64_t{1} << 28; /* of compiled kernels */
constexpr const char* kImageName = "hz_kernels.fatbin";
constexpr int kProcessors = 16, kMajorCapability = 75,
              kMinorCapability = 76; /* CU_DEVICE_ATTRIBUTE_ */

std::vector<char> read_file(const std::string& path) {
    std::string reason; /* which file lacks says the caller */
    return hz_api::read_regular(path, kMostBytes, reason);
}

/* A fat binary, a cubin (ELF) or PTX: the driver reads as far as the image says it is long, so what
   is something else must not reach it. */
bool looks_like_kernels(const char* bytes, size_t size) {
    static const unsigned char fat[] = {0x50, 0xed, 0x55, 0xba}, elf[] = {0x7f, 'E', 'L', 'F'};
    if (size < 64) return false;
    if (!std::memcmp(bytes, elf, 4)) return true;
    if (!std::memcmp(bytes, fat, 4)) {
        uint16_t header;
        uint64_t payload;
        std::memcpy(&header, bytes + 6, sizeof header);
        std::memcpy(&payload, bytes + 8, sizeof payload);
        return payload <= size && header <= size - payload;
    }
    return std::string(bytes, size).find(".version") != std::string::npos;
}

[[noreturn]] void refuse_module(Result result, const std::string& origin,
                                const DeviceContext& device) {
    if (result == kNoBinaryForGpu)
        throw Unavailable(origin + " must hold kernels for this GPU (compute capability " +
                          device.capability() +
                          "); it holds none. Compile them for it: `make "
                          "cuda`, or -DHARMONIZER_KERNELS=nvcc.");
    if (result == kUnsupportedPtx || result == kInvalidImage)
        throw Unavailable(origin + " must hold kernels that the driver can read; it answered " +
                          describe(result) +
                          ". Update the NVIDIA driver, or compile the kernels again with its "
                          "version of CUDA.");
    check(result, "load the kernels");
    throw Unavailable(origin + " cannot be loaded.");
}

}  // namespace

DeviceContext::DeviceContext(int ordinal) {
    int count = 0;
    check(driver().device_count(&count), "count the GPUs");
    if (ordinal < 0 || ordinal >= count)
        throw Invalid("`device` must be an ordinal below the number of visible GPUs, " +
                      std::to_string(count) + "; got " + std::to_string(ordinal) + ".");
    check(driver().device(&device_, ordinal), "find the GPU");
    check(driver().device_attribute(&processors_, kProcessors, device_), "ask the GPU");
    check(driver().retain_context(&context_, device_), "open the GPU");
}

DeviceContext::~DeviceContext() { driver().release_context(device_); }

std::string DeviceContext::name() const {
    char text[128] = "";
    driver().device_name(text, sizeof text, device_);
    return text;
}

std::string DeviceContext::capability() const {
    int major = 0, minor = 0;
    driver().device_attribute(&major, kMajorCapability, device_);
    driver().device_attribute(&minor, kMinorCapability, device_);
    return std::to_string(major) + "." + std::to_string(minor);
}

Module load_kernels(const hz_renderer_options& options, const DeviceContext& device) {
    std::vector<char> file; /* ends in a zero: PTX has no length of its own */
    std::string origin = "`kernels_image`";
    if (options.kernels_image) {
        if (options.kernels)
            throw Invalid(
                "`kernels` and `kernels_image` must not both be given. Leave one of them null.");
        const char* bytes = static_cast<const char*>(options.kernels_image);
        file.assign(bytes, bytes + options.kernels_size);
    } else {
        origin = options.kernels ? options.kernels
                                 : hz_api::folder_of(reinterpret_cast<const void*>(&hz_version)) +
                                       "/" + kImageName;
        file = read_file(origin);
        if (file.empty() && options.kernels)
            throw Invalid(origin +
                          " must be a readable file of compiled kernels; it cannot be "
                          "read, or is empty. Check the path.");
        if (file.empty())
            throw Unavailable("the compiled kernels must lie beside the library; " + origin +
                              " is missing. Make them with `make cuda` or "
                              "-DHARMONIZER_KERNELS=nvcc, or name the file in "
                              "hz_renderer_options.kernels.");
    }
    if (!looks_like_kernels(file.data(), file.size()))
        throw Invalid(origin +
                      " must be a fat binary, cubin or PTX of the kernels; it is "
                      "something else, or cut short. Make it again with `make cuda`.");
    file.push_back(0);
    Module module = nullptr;
    const Result result = driver().load_module(&module, file.data());
    if (result != kSuccess) refuse_module(result, origin, device);
    return module;
}

}  // namespace hz_cuda
