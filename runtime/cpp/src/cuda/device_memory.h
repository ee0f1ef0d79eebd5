/* What a renderer owns on a GPU, released with it. All of it is used with the context current. */
#pragma once

#include <algorithm>
#include <string>

#include "api/errors.h"
#include "cuda/driver.h"

namespace hz_cuda {

/* Makes a context current for a scope, and leaves the caller's as it was. */
class Current {
public:
    explicit Current(Context context) {
        check(driver().push_context(context), "make the GPU's context current");
    }
    ~Current() {
        Context popped;
        driver().pop_context(&popped);
    }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
};

inline std::string megabytes(size_t bytes) {
    return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB";
}

/* Device memory that grows when more is wanted; what it held is then lost. */
class DeviceBuffer {
public:
    DeviceBuffer() = default;
    ~DeviceBuffer() { release(); }
    DeviceBuffer(const DeviceBuffer&) = delete;
    DeviceBuffer& operator=(const DeviceBuffer&) = delete;

    void reserve(size_t bytes) {
        if (bytes <= size_) return;
        release();
        const Result result = driver().allocate(&address_, bytes);
        if (result == kOutOfMemory) {
            address_ = 0;
            size_t available = 0, total = 0;
            driver().free_memory(&available, &total);
            throw hz_api::DeviceMemoryFull(
                "the GPU must have " + megabytes(bytes) + " free for this picture; it has " +
                megabytes(available) + ". Draw smaller pictures, or free memory of other work.");
        }
        check(result, "allocate device memory");
        size_ = bytes;
    }
    Address address() const { return address_; }
    void* pointer() const { return reinterpret_cast<void*>(static_cast<uintptr_t>(address_)); }
    bool empty() const { return size_ == 0; }

    void release() {
        if (size_) driver().free(address_);
        address_ = 0;
        size_ = 0;
    }

private:
    Address address_ = 0;
    size_t size_ = 0;
};

/* Page-locked host memory, from and to which the GPU copies on its own. Grows likewise. */
class PinnedBuffer {
public:
    PinnedBuffer() = default;
    ~PinnedBuffer() { release(); }
    PinnedBuffer(const PinnedBuffer&) = delete;
    PinnedBuffer& operator=(const PinnedBuffer&) = delete;

    void reserve(size_t bytes) {
        if (bytes <= size_) return;
        release();
        const Result result = driver().allocate_pinned(&data_, bytes, 0);
        if (result == kOutOfMemory) {
            data_ = nullptr;
            throw hz_api::DeviceMemoryFull("the system must have " + megabytes(bytes) +
                                           " that can be pinned for this picture. Draw smaller "
                                           "pictures, or free memory.");
        }
        check(result, "allocate pinned memory");
        size_ = bytes;
    }
    char* data() const { return static_cast<char*>(data_); }

    void release() {
        if (size_) driver().free_pinned(data_);
        data_ = nullptr;
        size_ = 0;
    }

private:
    void* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace hz_cuda
