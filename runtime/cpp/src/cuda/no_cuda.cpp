/* Stands in for the CUDA renderer in a build with HARMONIZER_CUDA=OFF. */
#include "api/errors.h"
#include "api/renderer.h"

namespace hz_cuda {

hz_renderer* make_cuda_renderer(const hz_renderer_options&) {
    throw hz_api::Unavailable(
        "backend `cuda` must be part of the build; this library was configured with "
        "HARMONIZER_CUDA=OFF. Configure it with ON, or use backend `cpu`.");
}

}  // namespace hz_cuda
