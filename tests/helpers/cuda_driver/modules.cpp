/* Modules, functions, launches. */
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "emulator.h"
#include "harmonizer_cuda.h"

using emulator::require_context;
using emulator::state;

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;
using Emulate = int (*)(const hz_launch*);

Emulate emulation() {
    static const Emulate found = []() -> Emulate {
        const char* path = std::getenv("HZ_EMULATION_LIBRARY");
        void* library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
        if (!library) {
            std::fprintf(stderr, "emulated driver: HZ_EMULATION_LIBRARY=%s: %s\n",
                         path ? path : "(not set)", path ? dlerror() : "nothing to load");
            return nullptr;
        }
        return reinterpret_cast<Emulate>(dlsym(library, "hz_emulate"));
    }();
    return found;
}

/* PTX, a cubin (ELF) or a fat binary; kernels are found by name in all three. */
bool plausible(const std::vector<unsigned char>& image) {
    static const unsigned char elf[] = {0x7f, 'E', 'L', 'F'}, fat[] = {0x50, 0xed, 0x55, 0xba};
    return image.size() > 4 &&
           (!std::memcmp(image.data(), elf, 4) || !std::memcmp(image.data(), fat, 4) ||
            std::string(image.begin(), image.end()).find(".version") != std::string::npos);
}

/* The size of what a pointer without a length points to, from the image's own header. */
size_t image_size(const void* data) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    if (!std::memcmp(bytes, "\x50\xed\x55\xba", 4)) { /* header size, then payload size */
        uint16_t header;
        uint64_t payload;
        std::memcpy(&header, bytes + 6, 2);
        std::memcpy(&payload, bytes + 8, 8);
        return header + payload;
    }
    if (!std::memcmp(bytes,
                     "\x7f"
                     "ELF",
                     4)) { /* up to the end of the section headers */
        uint64_t sections;
        uint16_t size, count;
        std::memcpy(&sections, bytes + 40, 8);
        std::memcpy(&size, bytes + 58, 2);
        std::memcpy(&count, bytes + 60, 2);
        return sections + size_t{size} * count;
    }
    return std::strlen(static_cast<const char*>(data));
}

}  // namespace

HZ_EXPORT CUresult cuModuleLoadData(CUmodule* module, const void* data) {
    if (CUresult status = require_context()) return status;
    Lock lock(state().mutex);
    const auto* bytes = static_cast<const unsigned char*>(data);
    auto made = std::make_unique<CUmod_st>();
    made->image.assign(bytes, bytes + image_size(data));
    if (!plausible(made->image)) return CUDA_ERROR_INVALID_IMAGE;
    *module = made.release();
    state().modules.insert(*module);
    ++state().counts.modules;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuModuleLoadDataEx(CUmodule* module, const void* data, unsigned, CUjit_option*,
                                      void**) {
    return cuModuleLoadData(module, data);
}

HZ_EXPORT CUresult cuModuleUnload(CUmodule module) {
    Lock lock(state().mutex);
    if (!state().modules.erase(module)) return CUDA_ERROR_INVALID_HANDLE;
    --state().counts.modules;
    delete module;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    Lock lock(state().mutex);
    if (!state().modules.count(module)) return CUDA_ERROR_INVALID_HANDLE;
    *function = new CUfunc_st{name};
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) {
    *value = 0;
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) {
    return CUDA_SUCCESS;
}

HZ_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz,
                                  unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                  CUstream stream, void** parameters, void** extra) {
    if (CUresult status = require_context()) return status;
    Lock lock(state().mutex);
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || gy > 65535 || gz > 65535)
        return CUDA_ERROR_INVALID_VALUE;
    const void* bytes = parameters ? parameters[0] : nullptr;
    size_t size = HZ_PARAMETER_BYTES;
    for (int i = 0; extra && extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER) bytes = extra[i + 1];
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<size_t*>(extra[i + 1]);
    }
    if (!bytes || size > HZ_PARAMETER_BYTES) return CUDA_ERROR_INVALID_VALUE;
    auto launch = std::make_shared<hz_launch>();
    launch->grid[0] = gx, launch->grid[1] = gy, launch->grid[2] = gz;
    launch->block[0] = bx, launch->block[1] = by, launch->block[2] = bz;
    launch->shared = shared;
    launch->size = static_cast<uint32_t>(size);
    std::memcpy(launch->parameters, bytes, size);
    ++state().counts.launches;
    return emulator::enqueue(stream, [launch, name = function->name] {
        launch->kernel = name.c_str();
        const Emulate emulate = emulation();
        return emulate && !emulate(launch.get()) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
    });
}
