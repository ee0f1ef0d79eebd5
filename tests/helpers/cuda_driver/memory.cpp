/* Device and pinned memory, copies and fills. */
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "emulator.h"

using emulator::Allocation;
using emulator::enqueue;
using emulator::find;
using emulator::require_context;
using emulator::state;

#define HZ_CHECK(call) \
    if (CUresult status_ = (call)) return status_

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;
constexpr size_t kAlignment = 256;

/* Ends at a page that nobody may touch, as near as the alignment allows: an overrun crashes. */
uintptr_t map_guarded(size_t size, Allocation& made) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t wanted = (size + kAlignment - 1) / kAlignment * kAlignment;
    const size_t body = (wanted + page - 1) / page * page;
    void* base = mmap(nullptr, body + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return 0;
    mprotect(static_cast<char*>(base) + body, page, PROT_NONE);
    made = {size, body + page, base};
    const auto address = reinterpret_cast<uintptr_t>(base) + body - wanted;
    /* Memory is not zeroed on a GPU: what reads it before writing shall notice. */
    std::memset(reinterpret_cast<void*>(address), 0xA5, wanted);
    return address;
}

/* The pages stay mapped without access: whoever still uses the address crashes. */
void unmap(const Allocation& old) {
    madvise(old.base, old.mapped, MADV_DONTNEED);
    mprotect(old.base, old.mapped, PROT_NONE);
}

CUresult allocate_device(CUdeviceptr* pointer, size_t size) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    HZ_CHECK(emulator::allocation_allowed());
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    auto& counts = state().counts;
    if (counts.device_bytes + static_cast<int64_t>(size) > state().memory || !state().fail_after)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (state().fail_after > 0) --state().fail_after;
    Allocation made;
    const uintptr_t address = map_guarded(size, made);
    if (!address) return CUDA_ERROR_OUT_OF_MEMORY;
    state().device[address] = made;
    ++counts.device_allocations;
    counts.device_bytes += static_cast<int64_t>(size);
    if (counts.device_bytes > counts.peak) counts.peak = counts.device_bytes;
    *pointer = address;
    return CUDA_SUCCESS;
}

CUresult release(std::map<uintptr_t, Allocation>& map, uintptr_t address, bool device) {
    Lock lock(state().mutex);
    HZ_CHECK(emulator::allocation_allowed());
    const auto found = map.find(address);
    if (found == map.end()) return CUDA_ERROR_INVALID_VALUE;
    if (emulator::busy()) ++state().counts.busy_frees;
    HZ_CHECK(emulator::finish_all());
    unmap(found->second);
    if (device) {
        --state().counts.device_allocations;
        state().counts.device_bytes -= static_cast<int64_t>(found->second.size);
    } else {
        --state().counts.pinned_allocations;
    }
    map.erase(found);
    return CUDA_SUCCESS;
}

bool on_device(uintptr_t address, size_t size) { return find(state().device, address, size); }
bool is_pinned(const void* address, size_t size) {
    return find(state().pinned, reinterpret_cast<uintptr_t>(address), size);
}

enum Kind { kToDevice, kToHost, kOnDevice };

CUresult copy(Kind kind, uintptr_t target, uintptr_t source, size_t size, CUstream stream,
              bool wait) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    if (!size) return CUDA_SUCCESS;
    if ((kind != kToHost && !on_device(target, size)) ||
        (kind != kToDevice && !on_device(source, size)))
        return CUDA_ERROR_INVALID_VALUE;
    ++state().counts.copies;
    auto* to = reinterpret_cast<void*>(target);
    auto* from = reinterpret_cast<const void*>(source);
    const bool pageable =
        (kind == kToDevice && !is_pinned(from, size)) || (kind == kToHost && !is_pinned(to, size));
    std::shared_ptr<std::vector<char>> staged;
    if (pageable && !wait) ++state().counts.pageable_copies;
    const bool captured = state().streams.count(stream) && stream->capture;
    if (pageable && kind == kToDevice && !captured) { /* the driver takes the bytes at once */
        auto* bytes = static_cast<const char*>(from);
        staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
        from = staged->data();
    }
    HZ_CHECK(enqueue(stream, [=] {
        (void)staged;
        if ((kind != kToHost && !on_device(target, size)) ||
            (kind != kToDevice && !on_device(source, size)))
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        std::memmove(to, from, size);
        return CUDA_SUCCESS;
    }));
    return wait || (pageable && kind == kToHost) ? emulator::finish(stream) : CUDA_SUCCESS;
}

template <typename T>
CUresult fill(CUdeviceptr target, T value, size_t count, CUstream stream, bool wait) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    if (!on_device(target, count * sizeof(T))) return CUDA_ERROR_INVALID_VALUE;
    HZ_CHECK(enqueue(stream, [=] {
        if (!on_device(target, count * sizeof(T))) return CUDA_ERROR_ILLEGAL_ADDRESS;
        auto* values = reinterpret_cast<T*>(target);
        for (size_t i = 0; i < count; ++i) values[i] = value;
        return CUDA_SUCCESS;
    }));
    return wait ? emulator::finish(stream) : CUDA_SUCCESS;
}

uintptr_t at(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

namespace emulator {

const Allocation* find(const std::map<uintptr_t, Allocation>& map, uintptr_t address, size_t size) {
    auto after = map.upper_bound(address);
    if (after == map.begin()) return nullptr;
    const auto& [start, allocation] = *--after;
    return address - start + size <= allocation.size ? &allocation : nullptr;
}

}  // namespace emulator

HZ_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
    return allocate_device(pointer, size);
}

HZ_EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr* pointer, size_t* pitch, size_t width,
                                      size_t height, unsigned) {
    *pitch = (width + kAlignment - 1) / kAlignment * kAlignment;
    return allocate_device(pointer, *pitch * height);
}

HZ_EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
    HZ_CHECK(require_context());
    return release(state().device, pointer, true);
}

HZ_EXPORT CUresult cuMemHostAlloc(void** pointer, size_t size, unsigned) {
    HZ_CHECK(require_context());
    Lock lock(state().mutex);
    HZ_CHECK(emulator::allocation_allowed());
    if (!state().fail_after) return CUDA_ERROR_OUT_OF_MEMORY;
    if (state().fail_after > 0) --state().fail_after;
    Allocation made;
    const uintptr_t address = map_guarded(size ? size : 1, made);
    if (!address) return CUDA_ERROR_OUT_OF_MEMORY;
    state().pinned[address] = made;
    ++state().counts.pinned_allocations;
    *pointer = reinterpret_cast<void*>(address);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuMemAllocHost_v2(void** pointer, size_t size) {
    return cuMemHostAlloc(pointer, size, 0);
}

HZ_EXPORT CUresult cuMemFreeHost(void* pointer) {
    return release(state().pinned, at(pointer), false);
}

HZ_EXPORT CUresult cuMemHostGetFlags(unsigned* flags, void* pointer) {
    Lock lock(state().mutex);
    *flags = 0;
    return is_pinned(pointer, 1) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

HZ_EXPORT CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    HZ_CHECK(require_context());
    *total = static_cast<size_t>(state().memory);
    *available = *total - static_cast<size_t>(state().counts.device_bytes);
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, size_t* size, CUdeviceptr pointer) {
    Lock lock(state().mutex);
    for (const auto& [start, allocation] : state().device)
        if (pointer >= start && pointer < start + allocation.size) {
            if (base) *base = start;
            if (size) *size = allocation.size;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

HZ_EXPORT CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute,
                                         CUdeviceptr pointer) {
    Lock lock(state().mutex);
    const bool device = on_device(pointer, 1);
    if (!device && !find(state().pinned, pointer, 1)) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
        *static_cast<unsigned*>(data) = device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
    else if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
        *static_cast<int*>(data) = 0;
    else
        return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t size) {
    return copy(kToDevice, to, at(from), size, nullptr, true);
}
HZ_EXPORT CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t size) {
    return copy(kToHost, at(to), from, size, nullptr, true);
}
HZ_EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) {
    return copy(kOnDevice, to, from, size, nullptr, false);
}
HZ_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size,
                                        CUstream stream) {
    return copy(kToDevice, to, at(from), size, stream, false);
}
HZ_EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream stream) {
    return copy(kToHost, at(to), from, size, stream, false);
}
HZ_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size,
                                        CUstream stream) {
    return copy(kOnDevice, to, from, size, stream, false);
}
HZ_EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    return fill(to, value, count, nullptr, true);
}
HZ_EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count,
                                   CUstream stream) {
    return fill(to, value, count, stream, false);
}
HZ_EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
    return fill(to, value, count, nullptr, true);
}
HZ_EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    return fill(to, value, count, stream, false);
}
