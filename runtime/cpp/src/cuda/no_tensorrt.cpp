/* Stands in for TensorRT in a build without HARMONIZER_TENSORRT. */
#include "api/errors.h"
#include "api/renderer.h"

namespace hz_cuda {

hz_predictor* load_engine(hz_renderer&, const char*, const hz_engine_options&) {
    throw hz_api::Unavailable(
        "engines need TensorRT, and this library was built without it. Configure it with "
        "-DHARMONIZER_TENSORRT=ON -DTENSORRT_ROOT=..., or give the arguments.");
}

}  // namespace hz_cuda
