/* A GPU and the kernels on it. */
#pragma once

#include <string>

#include "cuda/driver.h"
#include "harmonizer.h"

namespace hz_cuda {

/* Retains the GPU's primary context, which CUDA's runtime, PyTorch and TensorRT use as well. */
class DeviceContext {
public:
    /* Throws hz_api::Invalid for a device that is not there. */
    explicit DeviceContext(int ordinal);
    ~DeviceContext();
    DeviceContext(const DeviceContext&) = delete;
    DeviceContext& operator=(const DeviceContext&) = delete;

    Context context() const { return context_; }
    std::string name() const;
    std::string capability() const; /* "9.0" */
    int processors() const { return processors_; }

private:
    Device device_ = 0;
    Context context_ = nullptr;
    int processors_ = 0;
};

/* Load the compiled kernels into the current context, from where the options say. Throws
   hz_api::Invalid for a file that cannot be read, hz_api::Unavailable if there is none for this
   library, GPU or driver. */
Module load_kernels(const hz_renderer_options& options, const DeviceContext& device);

}  // namespace hz_cuda
