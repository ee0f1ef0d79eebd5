/* A TensorRT engine as a predictor. Built against the headers of TensorRT 10 or 11; its library is
   opened when the first engine is loaded, so that nothing links to it. */
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "errors.h"
#include "renderer_cuda.h"

namespace hz_cuda {
namespace {

using hz_cpu::BadModel;
using hz_cpu::Unavailable;

#define HZ_TEXT_OF(number) #number
#define HZ_TEXT(number) HZ_TEXT_OF(number)
constexpr const char* kLibrary = "libnvinfer.so." HZ_TEXT(NV_TENSORRT_MAJOR);

constexpr const char* kInputs[] = {"composite", "mask"};
constexpr int64_t kInputChannels[] = {3, 1};
constexpr const char* kOutput = "arguments";
constexpr int64_t kSize = hz_cpu::kThumbnail;

/* Keeps TensorRT's last complaint, which says more than the null it returns. */
class Log final : public nvinfer1::ILogger {
public:
    void log(Severity severity, const nvinfer1::AsciiChar* message) noexcept override {
        if (severity > Severity::kERROR) return;
        const std::lock_guard<std::mutex> guard(lock_);
        std::snprintf(text_, sizeof text_, "%s", message);
    }
    std::string take() {
        const std::lock_guard<std::mutex> guard(lock_);
        const std::string text = text_[0] ? text_ : "TensorRT gave no reason";
        text_[0] = 0;
        return text;
    }

private:
    std::mutex lock_;
    char text_[512] = "";
};

/* TensorRT keeps the first logger it sees for the whole process. */
Log& process_log() {
    static Log* const log = new Log;
    return *log;
}

nvinfer1::IRuntime* create_runtime(const char* path) {
    const char* const name = path ? path : kLibrary;
    void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char* reason = dlerror();
        throw Unavailable(std::string("an engine needs TensorRT ") + HZ_TEXT(NV_TENSORRT_MAJOR) +
                          "; " + (reason ? reason : name) +
                          ". Install it, put its folder into LD_LIBRARY_PATH, or name the file in "
                          "hz_engine_options.library.");
    }
    const auto create = reinterpret_cast<void* (*)(void*, int32_t)>(
        dlsym(library, "createInferRuntime_INTERNAL"));
    if (!create)
        throw Unavailable(std::string("an engine needs TensorRT; ") + name +
                          " is another library. Name libnvinfer.so of TensorRT " +
                          HZ_TEXT(NV_TENSORRT_MAJOR) + ".");
    auto* const runtime = static_cast<nvinfer1::IRuntime*>(
        create(static_cast<nvinfer1::ILogger*>(&process_log()), NV_TENSORRT_VERSION));
    if (!runtime)
        throw Unavailable(std::string("TensorRT must be of the version this library was built "
                                      "for; it refused: ") +
                          process_log().take() + ". Install TensorRT " +
                          HZ_TEXT(NV_TENSORRT_MAJOR) + "." + HZ_TEXT(NV_TENSORRT_MINOR) + ".");
    return runtime;
}

std::vector<char> read_engine(const std::string& path) {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                         std::fclose);
    std::vector<char> bytes;
    if (file) {
        char block[1 << 16];
        for (size_t n; (n = std::fread(block, 1, sizeof block, file.get())) > 0;)
            bytes.insert(bytes.end(), block, block + n);
    }
    if (!file || std::ferror(file.get()))
        throw BadModel(path + " must be a readable TensorRT engine; it cannot be read. Check the "
                              "path, or build one with export/build_engine.py or trtexec.");
    /* A protobuf of ONNX begins with its first field, ir_version. */
    if (bytes.size() > 1 && bytes[0] == 0x08 && bytes[1] < 0x20)
        throw BadModel(path + " must be a TensorRT engine; it looks like an ONNX model. Build an "
                              "engine of it with export/build_engine.py or trtexec --onnx.");
    return bytes;
}

std::string text_of(const nvinfer1::Dims& shape) {
    std::string text;
    for (int32_t i = 0; i < shape.nbDims; ++i)
        text += (i ? "x" : "") + std::to_string(shape.d[i]);
    return text.empty() ? "nothing" : text;
}

class EnginePredictor final : public hz_predictor {
public:
    EnginePredictor(CudaRenderer& renderer, const std::string& path,
                    const hz_engine_options& options)
        : renderer_(renderer), path_(path) {
        const std::vector<char> bytes = read_engine(path);
        const Current current(renderer.context());
        try {
            runtime_.reset(create_runtime(options.library));
            engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
            if (!engine_) refuse("load here: " + process_log().take());
            check_contract(options.count);
            context_.reset(engine_->createExecutionContext());
            if (!context_) fail("make an execution context");
            for (int i = 0; i < 2; ++i)
                if (!context_->setInputShape(
                        kInputs[i], nvinfer1::Dims4(1, kInputChannels[i], kSize, kSize)))
                    fail("take one picture of 256x256");
        } catch (...) {
            release();
            throw;
        }
    }

    ~EnginePredictor() override {
        try {
            const Current current(renderer_.context());
            release();
        } catch (const std::exception&) {
            release(); /* the context is gone, and the GPU's memory with it */
        }
    }

    void predict(const void* composite, const void* coverage, float* arguments,
                 void* stream) override {
        const void* const inputs[] = {composite, coverage};
        bool done = context_->setTensorAddress(kOutput, arguments);
        for (int i = 0; i < 2; ++i)
            done = done && context_->setInputTensorAddress(kInputs[i], inputs[i]);
        if (!done || !context_->enqueueV3(static_cast<cudaStream_t>(stream))) fail("run");
    }

private:
    [[noreturn]] void refuse(const std::string& rule_and_reason) const {
        throw BadModel(path_ + " must " + rule_and_reason +
                       ". Build it again for this GPU and TensorRT with export/build_engine.py "
                       "or trtexec.");
    }

    [[noreturn]] void fail(const char* action) const {
        const std::string reason = process_log().take();
        if (reason.find("OutOfMemory") != std::string::npos ||
            reason.find("out of memory") != std::string::npos)
            throw hz_cpu::DeviceMemoryFull("the GPU has too little free memory for " + path_ +
                                           ": " + reason + ". Free memory of other work.");
        throw BadModel(path_ + " could not " + action + ": " + reason + ".");
    }

    void check_tensor(const char* name, nvinfer1::TensorIOMode mode) const {
        if (engine_->getTensorIOMode(name) != mode)
            refuse(
                std::string("have inputs composite and mask and the output arguments; it lacks ") +
                name);
    }

    void check_contract(int32_t wanted) {
        for (int i = 0; i < 2; ++i) {
            check_tensor(kInputs[i], nvinfer1::TensorIOMode::kINPUT);
            const nvinfer1::Dims shape = engine_->getTensorShape(kInputs[i]);
            if (shape.nbDims != 4 || shape.d[1] != kInputChannels[i] || shape.d[2] != kSize ||
                shape.d[3] != kSize)
                refuse(std::string("take ") + kInputs[i] + " of Nx" +
                       std::to_string(kInputChannels[i]) + "x256x256; it takes " + text_of(shape));
            const nvinfer1::Dims least =
                engine_->getProfileShape(kInputs[i], 0, nvinfer1::OptProfileSelector::kMIN);
            if (shape.d[0] != 1 && (least.nbDims != 4 || least.d[0] > 1))
                refuse(std::string("take a batch of one; its profile begins at ") +
                       text_of(least));
        }
        check_tensor(kOutput, nvinfer1::TensorIOMode::kOUTPUT);
        const nvinfer1::Dims shape = engine_->getTensorShape(kOutput);
        if (shape.nbDims != 2 || shape.d[1] != wanted)
            refuse("predict " + std::to_string(wanted) + " arguments; it gives " + text_of(shape) +
                   " (name what it predicts in hz_engine_options.operations)");
        const nvinfer1::DataType type = engine_->getTensorDataType(kInputs[0]);
        if (type != engine_->getTensorDataType(kInputs[1]) ||
            (type != nvinfer1::DataType::kFLOAT && type != nvinfer1::DataType::kHALF))
            refuse("take both inputs in float32, or both in float16");
        if (engine_->getTensorDataType(kOutput) != nvinfer1::DataType::kFLOAT)
            refuse("give its arguments in float32");
        thumbnail_type = type == nvinfer1::DataType::kHALF ? HZ_F16 : HZ_F32;
    }

    void release() noexcept {
        context_.reset();
        engine_.reset();
        runtime_.reset();
    }

    CudaRenderer& renderer_;
    std::string path_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
};

}  // namespace

hz_predictor* load_engine(hz_renderer& renderer, const char* path,
                          const hz_engine_options& options) {
    return new EnginePredictor(static_cast<CudaRenderer&>(renderer), path, options);
}

}  // namespace hz_cuda
