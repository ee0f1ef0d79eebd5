/* A TensorRT engine as a predictor. Built against the headers of TensorRT 10 or 11; its library is
   opened when the first engine is loaded, so that nothing links to it. */
#include <NvInferRuntime.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/system.h"
#include "cuda/renderer.h"

namespace hz_cuda {
namespace {

using hz_api::BadModel;
using hz_api::Invalid;
using hz_api::Unavailable;

#define HZ_TEXT_OF(number) #number
#define HZ_TEXT(number) HZ_TEXT_OF(number)
constexpr const char* kLibrary = "libnvinfer.so." HZ_TEXT(NV_TENSORRT_MAJOR);

constexpr int64_t kMostBytes = int64_t{4} << 30; /* of an engine */

/* An input of one picture: its name, and its shape after the batch. */
struct Input {
    const char* name;
    int32_t rank;
    int64_t channels;

    nvinfer1::Dims shape() const {
        nvinfer1::Dims shape = {};
        shape.nbDims = rank;
        for (int i = 2; i < rank; ++i) shape.d[i] = HZ_THUMBNAIL_SIZE;
        shape.d[0] = 1;
        shape.d[1] = channels;
        return shape;
    }
};

constexpr Input kWhole[] = {{"composite", 4, 3}, {"mask", 4, 1}};
constexpr Input kRegions[] = {{"foreground", 4, 3}, {"background", 4, 3}};
constexpr const char* kLabels[] = HZ_LABELS;
constexpr const char* kFilters[] = HZ_OP_NAMES;
constexpr const char kNamePrefix[] = "harmonizer-"; /* of the networks of build_engine.py */
constexpr Input kLabel = {"label", 2, HZ_LABEL_COUNT};
constexpr const char* kOutput = "arguments";

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
    std::string reason;
    void* const library = hz_api::open_library(name, reason);
    if (!library)
        throw Unavailable(std::string("an engine needs TensorRT ") + HZ_TEXT(NV_TENSORRT_MAJOR) +
                          "; " + reason +
                          ". Install it, put its folder into LD_LIBRARY_PATH, or name the file in "
                          "hz_engine_options.library.");
    const auto create = reinterpret_cast<void* (*)(void*, int32_t)>(
        hz_api::find_function(library, "createInferRuntime_INTERNAL"));
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

/* As engine/files.py tells them apart: TensorRT may crash on what is something else. */
void check_kind(const std::string& path, const std::vector<char>& bytes) {
    const std::string tag(bytes.data(), std::min<size_t>(4, bytes.size()));
    if (tag == "ftrt") return;
    const std::string rule = path + " must be a TensorRT engine; ";
    if (tag == "vtrt")
        throw BadModel(rule +
                       "it is one of TensorRT-RTX, which this library does not take. Build "
                       "it with export/build_engine.py --module tensorrt.");
    /* A protobuf of ONNX begins with its first field, ir_version, and goes on with another. */
    if (tag.size() > 2 && tag[0] == 0x08 && tag[1] >= 0 && tag[1] < 0x40 &&
        ((tag[2] & 7) == 0 || (tag[2] & 7) == 2))
        throw BadModel(rule +
                       "it is an ONNX model. Build an engine of it with "
                       "export/build_engine.py or trtexec --onnx.");
    std::string found = tag.empty() ? "it is empty" : "it begins with the bytes";
    for (const char byte : tag) {
        char text[8];
        std::snprintf(text, sizeof text, " %02x", static_cast<unsigned char>(byte));
        found += text;
    }
    throw BadModel(rule + found + ". Build one with export/build_engine.py or trtexec.");
}

std::vector<char> read_engine(const std::string& path) {
    std::string reason;
    const std::vector<char> bytes = hz_api::read_regular(path, kMostBytes, reason);
    if (!reason.empty())
        throw BadModel(path + " must be a readable TensorRT engine; it cannot be read: " + reason +
                       ". Check the path, or build one with export/build_engine.py or trtexec.");
    check_kind(path, bytes);
    return bytes;
}

std::string text_of(const nvinfer1::Dims& shape) {
    std::string text;
    for (int32_t i = 0; i < shape.nbDims; ++i) text += (i ? "x" : "") + std::to_string(shape.d[i]);
    return text.empty() ? "nothing" : text;
}

/* Index into kLabels. */
int32_t find_label(const char* label) {
    if (!label) return HZ_DEFAULT_LABEL;
    std::string known;
    for (int32_t i = 0; i < HZ_LABEL_COUNT; ++i) {
        if (!std::strcmp(label, kLabels[i])) return i;
        known += (i ? ", " : "") + std::string(kLabels[i]);
    }
    throw Invalid("`label` must be one of " + known + "; got `" + label + "`.");
}

class EnginePredictor final : public hz_predictor {
public:
    EnginePredictor(CudaRenderer& renderer, const std::string& path,
                    const hz_engine_options& options)
        : renderer_(renderer), path_(path) {
        const int32_t shown = find_label(options.label);
        const std::vector<char> bytes = read_engine(path);
        const Current current(renderer.context());
        try {
            runtime_.reset(create_runtime(options.library));
            engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
            if (!engine_) refuse("load here: " + process_log().take());
            check_contract(options);
            context_.reset(engine_->createExecutionContext());
            if (!context_) fail("make an execution context");
            for (const Input& input : inputs_)
                if (!context_->setInputShape(input.name, input.shape()))
                    fail("take one picture of 256x256");
            if (inputs_.size() > 2) write_label(shown);
        } catch (...) {
            release();
            throw;
        }
    }

    ~EnginePredictor() override {
        try {
            renderer_.synchronize(nullptr); /* queued frames run the engine */
        } catch (const std::exception&) {   /* the device failed: nothing runs any more */
        }
        try {
            const Current current(renderer_.context());
            release();
        } catch (const std::exception&) {
            release(); /* the context is gone, and the GPU's memory with it */
        }
    }

    void predict(const void* first, const void* second, float* arguments, void* stream) override {
        const void* const addresses[] = {first, second, label_.pointer()};
        bool done = context_->setTensorAddress(kOutput, arguments);
        for (size_t i = 0; i < inputs_.size(); ++i)
            done = done && context_->setInputTensorAddress(inputs_[i].name, addresses[i]);
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
            throw hz_api::DeviceMemoryFull("the GPU has too little free memory for " + path_ +
                                           ": " + reason + ". Free memory of other work.");
        throw BadModel(path_ + " could not " + action + ": " + reason + ".");
    }

    bool reads(const char* name) const {
        for (int32_t i = 0; i < engine_->getNbIOTensors(); ++i)
            if (!std::strcmp(name, engine_->getIOTensorName(i)))
                return engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        return false;
    }

    /* What it reads says which network it is. */
    void check_contract(const hz_engine_options& options) {
        regions = reads(kRegions[0].name);
        inputs_.assign(regions ? kRegions : kWhole, (regions ? kRegions : kWhole) + 2);
        if (regions && reads(kLabel.name)) inputs_.push_back(kLabel);
        if (options.label && inputs_.size() < 3)
            throw Invalid("`label` must go with an engine that reads one; " + path_ +
                          " does not. Leave it out.");
        for (const Input& input : inputs_) check_input(input);
        check_output(options);
        const nvinfer1::DataType type = engine_->getTensorDataType(inputs_[0].name);
        for (const Input& input : inputs_)
            if (type != engine_->getTensorDataType(input.name) ||
                (type != nvinfer1::DataType::kFLOAT && type != nvinfer1::DataType::kHALF))
                refuse("take all inputs in float32, or all in float16");
        thumbnail_type = type == nvinfer1::DataType::kHALF ? HZ_F16 : HZ_F32;
    }

    void check_tensor(const char* name, nvinfer1::TensorIOMode mode) const {
        if (engine_->getTensorIOMode(name) != mode)
            refuse(std::string("have inputs ") + inputs_[0].name + " and " + inputs_[1].name +
                   " and the output arguments; it lacks " + name);
    }

    void check_input(const Input& input) const {
        check_tensor(input.name, nvinfer1::TensorIOMode::kINPUT);
        const nvinfer1::Dims wanted = input.shape();
        const nvinfer1::Dims shape = engine_->getTensorShape(input.name);
        if (shape.nbDims != wanted.nbDims ||
            !std::equal(shape.d + 1, shape.d + shape.nbDims, wanted.d + 1))
            refuse(std::string("take ") + input.name + " of N" + text_of(wanted).substr(1) +
                   "; it takes " + text_of(shape));
        const nvinfer1::Dims least =
            engine_->getProfileShape(input.name, 0, nvinfer1::OptProfileSelector::kMIN);
        if (shape.d[0] != 1 && (least.nbDims != wanted.nbDims || least.d[0] > 1))
            refuse(std::string("take a batch of one; its profile begins at ") + text_of(least));
    }

    /* The filters that the engine names: "harmonizer-SHA256:NAME,NAME", by build_engine.py, which
       reads this. Trtexec gives no such name. */
    std::vector<int32_t> named_filters() const {
        std::vector<int32_t> codes;
        const std::string name = engine_->getName();
        size_t end = name.find(':');
        if (name.rfind(kNamePrefix, 0) != 0 || end == std::string::npos) return codes;
        while (end != std::string::npos) {
            const size_t begin = end + 1;
            end = name.find(',', begin);
            const std::string filter = name.substr(begin, end - begin);
            const auto found = std::find(std::begin(kFilters), std::end(kFilters), filter);
            if (found == std::end(kFilters) || codes.size() == HZ_MAX_STEPS)
                throw BadModel(path_ + " must predict filters that this library knows; it names " +
                               name.substr(name.find(':') + 1) + ". Update the library.");
            codes.push_back(static_cast<int32_t>(found - kFilters));
        }
        return codes;
    }

    static std::string names_of(const std::vector<int32_t>& codes) {
        std::string names;
        for (const int32_t code : codes)
            names += (names.empty() ? "" : ",") + std::string(kFilters[code]);
        return names;
    }

    void take_operations(const hz_engine_options& options) {
        std::vector<int32_t> codes = named_filters();
        if (options.operations) {
            const std::vector<int32_t> given(options.operations,
                                             options.operations + options.count);
            if (!codes.empty() && codes != given)
                throw Invalid("`operations` must be what " + path_ + " predicts, " +
                              names_of(codes) + "; got " + names_of(given) + ". Leave them out.");
            codes = given;
        }
        if (codes.empty() && regions) codes = {HZ_OP_PIECEWISE_CURVE};
        if (codes.empty())
            throw BadModel(path_ +
                           " must say which filters it predicts; those of trtexec do not. "
                           "Name them in hz_engine_options.operations (HZ_DEFAULT_FILTERS are "
                           "those of the default model), or build it with export/build_engine.py.");
        count = static_cast<int32_t>(codes.size());
        std::copy(codes.begin(), codes.end(), operations);
    }

    /* How many curves come in turn shows in how many numbers there are. */
    void check_output(const hz_engine_options& options) {
        take_operations(options);
        check_tensor(kOutput, nvinfer1::TensorIOMode::kOUTPUT);
        const nvinfer1::Dims shape = engine_->getTensorShape(kOutput);
        const bool bends =
            std::find(operations, operations + count, HZ_OP_PIECEWISE_CURVE) != operations + count;
        std::string wanted = bends ? "" : std::to_string(count);
        bool fits = !bends && shape.nbDims == 2 && shape.d[1] == count;
        for (stages = 0; bends && !fits && stages < HZ_CURVE_STAGES;) {
            ++stages;
            fits = shape.nbDims == 2 && shape.d[1] == numbers();
            wanted += (stages > 1 ? " or " : "") + std::to_string(numbers());
        }
        if (!fits) refuse("predict " + wanted + " arguments; it gives " + text_of(shape));
        if (engine_->getTensorDataType(kOutput) != nvinfer1::DataType::kFLOAT)
            refuse("give its arguments in float32");
    }

    /* Once: every picture's foreground shows the same. */
    void write_label(int32_t shown) {
        constexpr uint16_t kHalfOne = 0x3c00;
        float row[HZ_LABEL_COUNT] = {};
        uint16_t half_row[HZ_LABEL_COUNT] = {};
        row[shown] = 1;
        half_row[shown] = kHalfOne;
        label_.reserve(sizeof row);
        const bool half = thumbnail_type == HZ_F16;
        check(driver().upload(label_.address(), half ? static_cast<void*>(half_row) : row,
                              half ? sizeof half_row : sizeof row, renderer_.stream()),
              "upload the label");
    }

    void release() noexcept {
        label_.release();
        context_.reset();
        engine_.reset();
        runtime_.reset();
    }

    CudaRenderer& renderer_;
    std::string path_;
    std::vector<Input> inputs_;
    DeviceBuffer label_;
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
