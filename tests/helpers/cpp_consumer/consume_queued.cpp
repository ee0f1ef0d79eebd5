/* Work that is queued and read later; runs on a GPU and on the emulated driver.

   consume_queued capture               a frame with given arguments, as a graph
   consume_queued engine FILE LIBRARY   an engine that goes while its frame is queued */
#include <cstdio>
#include <string>
#include <vector>

#include "on_device.h"

namespace {

using harmonizer::ImageView;
using harmonizer::MaskView;
using harmonizer::Predictor;
using harmonizer::Program;
using harmonizer::Renderer;

constexpr int64_t kWidth = 203, kHeight = 77, kPixels = kWidth * kHeight;

void check_capture() {
    const Cuda cuda;
    void* stream = nullptr;
    cuda.call("cuStreamCreate", &stream, 1u);
    {
        harmonizer::CudaOptions options;
        options.stream = stream;
        Renderer renderer = Renderer::cuda(options);
        const std::vector<uint8_t> source = noise<uint8_t>(3 * kPixels, 1);
        const OnDevice<uint8_t> image(cuda, source), out(cuda, source);
        const ImageView from = ImageView::rgb(image.data(), kWidth, kHeight),
                        to = ImageView::rgb(out.data(), kWidth, kHeight);
        const Program looks[] = {{{HZ_OP_BRIGHTNESS, 0.3}}, {{HZ_OP_BRIGHTNESS, -0.3}}};
        std::vector<std::vector<uint8_t>> wanted;
        void* graphs[2];
        for (const Program& look : looks) {
            renderer.enqueue(from, MaskView(), to, look);
            renderer.synchronize();
            wanted.push_back(out.fetch());
        }
        require(wanted[0] != wanted[1], "two looks");
        for (int i = 0; i < 2; ++i) {
            void* captured = nullptr;
            cuda.call("cuStreamBeginCapture_v2", stream, 0);
            renderer.enqueue(from, MaskView(), to, looks[i]);
            cuda.call("cuStreamEndCapture", stream, &captured);
            cuda.call("cuGraphInstantiateWithFlags", &graphs[i], captured, 0ull);
            cuda.call("cuGraphDestroy", captured);
        }
        renderer.enqueue(from, MaskView(), to, Program{{HZ_OP_SHADOW, 0.5}});
        for (size_t i : {0u, 1u, 0u}) {
            cuda.call("cuGraphLaunch", graphs[i], stream);
            renderer.synchronize();
            require(out.fetch() == wanted[i], "the graph's own arguments");
        }
        for (void* graph : graphs) cuda.call("cuGraphExecDestroy", graph);
    }
    cuda.call("cuStreamDestroy_v2", stream);
}

/* The stand-in for TensorRT ends the process if its context goes while the stream is busy. */
void check_engine(const std::string& file, const std::string& library) {
    const Cuda cuda;
    Renderer renderer = Renderer::cuda();
    const std::vector<uint8_t> source(3 * kPixels, 90);
    const OnDevice<uint8_t> image(cuda, source), cover(cuda, std::vector<uint8_t>(kPixels, 255));
    const ImageView view = ImageView::rgb(image.data(), kWidth, kHeight);
    harmonizer::EngineOptions options;
    options.library = library;
    {
        Predictor predictor = Predictor::engine(renderer, file, options);
        renderer.enqueue(view, MaskView::of(cover.data(), kWidth, kHeight), view, predictor);
    }
    renderer.synchronize();
    require(image.fetch() != source, "drawn");
}

}  // namespace

int main(int count, char** words) {
    const std::string wanted = count > 1 ? words[1] : "";
    try {
        if (wanted == "capture") return check_capture(), 0;
        if (wanted == "engine" && count == 4) return check_engine(words[2], words[3]), 0;
    } catch (const std::exception& error) {
        std::printf("%s: %s\n", wanted.c_str(), error.what());
        return 1;
    }
    return 2;
}
