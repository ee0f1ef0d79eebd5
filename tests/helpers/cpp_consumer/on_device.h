/* Device memory and checks for programs that test the package. */
#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "harmonizer.hpp"

namespace {

inline void require(bool held, const std::string& what) {
    if (!held) throw std::logic_error(what);
}

/* What an application would call of the driver; the context is the device's primary one. */
class Cuda {
public:
    using Address = unsigned long long;

    Cuda() {
        library_ = dlopen("libcuda.so.1", RTLD_NOW);
        require(library_, "libcuda.so.1");
        call("cuInit", 0u);
        call("cuDevicePrimaryCtxRetain", &context_, 0);
        call("cuCtxPushCurrent_v2", context_);
    }
    ~Cuda() {
        void* popped;
        call("cuCtxPopCurrent_v2", &popped);
        call("cuDevicePrimaryCtxRelease_v2", 0);
    }

    template <typename... Arguments>
    void call(const char* name, Arguments... arguments) const {
        const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
        require(function, name);
        require(function(arguments...) == 0, name);
    }
    /* For functions of the emulated driver alone. */
    template <typename... Arguments>
    bool try_call(const char* name, Arguments... arguments) const {
        const auto function = reinterpret_cast<void (*)(Arguments...)>(dlsym(library_, name));
        if (function) function(arguments...);
        return function != nullptr;
    }

private:
    void* library_;
    void* context_ = nullptr;
};

template <typename T>
class OnDevice {
public:
    OnDevice(const Cuda& cuda, const std::vector<T>& values) : cuda_(cuda), size_(values.size()) {
        cuda_.call("cuMemAlloc_v2", &address_, size_ * sizeof(T));
        cuda_.call("cuMemcpyHtoD_v2", address_, static_cast<const void*>(values.data()),
                   size_ * sizeof(T));
        /* The call may return before the last bytes are there, and streams read them that do not
           wait for the default one. */
        cuda_.call("cuCtxSynchronize");
    }
    ~OnDevice() { cuda_.call("cuMemFree_v2", address_); }
    T* data() const { return reinterpret_cast<T*>(static_cast<uintptr_t>(address_)); }
    std::vector<T> fetch() const {
        std::vector<T> values(size_);
        cuda_.call("cuMemcpyDtoH_v2", static_cast<void*>(values.data()), address_,
                   size_ * sizeof(T));
        return values;
    }

private:
    const Cuda& cuda_;
    size_t size_;
    Cuda::Address address_ = 0;
};

template <typename T>
std::vector<T> noise(size_t count, unsigned seed) {
    std::vector<T> values(count);
    for (T& value : values) {
        seed = seed * 1664525u + 1013904223u;
        if constexpr (std::is_same_v<T, float>)
            value = static_cast<float>(seed >> 8) / 16777216.0f;
        else
            value = static_cast<T>(seed >> 16);
    }
    return values;
}

template <typename Call>
void refuse(hz_status wanted, const std::string& part, const Call& call) {
    try {
        call();
    } catch (const harmonizer::Error& error) {
        if (error.status() == wanted && std::string(error.what()).find(part) != std::string::npos)
            return;
        throw std::logic_error("wanted \"" + part + "\", got " + std::to_string(error.status()) +
                               " \"" + error.what() + "\"");
    }
    throw std::logic_error("nothing refused; wanted \"" + part + "\"");
}

}  // namespace
