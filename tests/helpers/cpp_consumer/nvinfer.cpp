/* A stand-in for libnvinfer: see tests/helpers/cpp_tensorrt.py. An "engine" is a text file

       ftrt key=value key=value ...

   count=6          how many arguments it gives: 0.1, -0.2, 0.3, ...
   type=0           of its inputs, as in DataType: 0 float, 1 half
   output=0         type of its output
   size=256         height and width that its inputs have
   least=1          smallest batch of its profile
   lacks=0          1: has no tensor named mask, or background
   regions=0        1: reads foreground and background, and gives 0.1, 0.4, ... 1.9, 0.1, ...; 2: reads
                    label, too, and writes its bytes over the first of these
   name=...         of its network; by default as build_engine.py names one of the six filters,
                    with regions as trtexec does
   fails=0          1: cannot be deserialised; 2: has no memory for a context; 3: cannot run */
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "nvinfer_stubs.h"

namespace nvinfer1 {

namespace {

ILogger* logger = nullptr;

struct Plan {
    std::map<std::string, int64_t> values = {{"count", 6},  {"type", 0},   {"output", 0},
                                             {"size", 256}, {"least", 1},  {"lacks", 0},
                                             {"fails", 0},  {"regions", 0}};
    int64_t operator[](const char* name) const { return values.at(name); }
    std::string name;

    std::vector<std::string> inputs() const {
        std::vector<std::string> names = {"composite", "mask"};
        if ((*this)["regions"]) names = {"foreground", "background"};
        if ((*this)["lacks"]) names.pop_back();
        if ((*this)["regions"] == 2) names.push_back("label");
        return names;
    }
    Dims shape_of(const std::string& name, int64_t batch) const {
        if (name == "arguments") return Dims2(batch, (*this)["count"]);
        if (name == "label") return Dims2(batch, 5);
        return Dims4(batch, name == "mask" ? 1 : 3, (*this)["size"], (*this)["size"]);
    }
};

class Context final : public apiv::VExecutionContextStub {
public:
    explicit Context(const Plan& plan) : plan_(plan) {}
    /* As with TensorRT, what is queued still uses it. */
    ~Context() override {
        using Query = int (*)(cudaStream_t);
        void* driver = dlopen("libcuda.so.1", RTLD_NOW);
        if (!used_ || !reinterpret_cast<Query>(dlsym(driver, "cuStreamQuery"))(stream_)) return;
        std::fprintf(stderr, "the context goes while its stream is busy\n");
        std::abort();
    }
    bool setInputShape(char const* name, Dims const& dims) noexcept override {
        const Dims wanted = plan_.shape_of(name, 1);
        return dims.nbDims == wanted.nbDims && std::equal(dims.d, dims.d + dims.nbDims, wanted.d);
    }
    bool setTensorAddress(char const* name, void* data) noexcept override {
        output_ = data;
        return !std::strcmp(name, "arguments");
    }
    bool setInputTensorAddress(char const* name, void const* data) noexcept override {
        addresses_[name] = data;
        return data != nullptr;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
        stream_ = stream;
        used_ = true;
        if (plan_["fails"] == 3) {
            logger->log(ILogger::Severity::kERROR, "cuBLAS is tired");
            return false;
        }
        for (const std::string& name : plan_.inputs())
            if (!addresses_[name]) return false;
        static float answers[576];
        for (int i = 0; i < 576; ++i)
            answers[i] = plan_["regions"] ? static_cast<float>(1 + 0.3 * (i % 7 - 3))
                                          : static_cast<float>((i % 2 ? -0.1 : 0.1) * (i + 1) / 2);
        void* driver = dlopen("libcuda.so.1", RTLD_NOW);
        using Upload = int (*)(unsigned long long, const void*, size_t, cudaStream_t);
        const auto upload = reinterpret_cast<Upload>(dlsym(driver, "cuMemcpyHtoDAsync_v2"));
        const auto target = reinterpret_cast<uintptr_t>(output_);
        if (upload(target, answers, sizeof(float) * static_cast<size_t>(plan_["count"]), stream))
            return false;
        if (plan_["regions"] < 2) return true;
        using Copy = int (*)(unsigned long long, unsigned long long, size_t, cudaStream_t);
        const auto copy = reinterpret_cast<Copy>(dlsym(driver, "cuMemcpyDtoDAsync_v2"));
        return copy(target, reinterpret_cast<uintptr_t>(addresses_["label"]),
                    5 * (plan_["type"] ? 2 : 4), stream) == 0;
    }

private:
    Plan plan_;
    void* output_ = nullptr;
    cudaStream_t stream_ = nullptr;
    bool used_ = false;
    std::map<std::string, const void*> addresses_;
};

struct ContextHandle final : IExecutionContext {
    explicit ContextHandle(const Plan& plan) : implementation(plan) { mImpl = &implementation; }
    Context implementation;
};

class Engine final : public apiv::VCudaEngineStub {
public:
    explicit Engine(const Plan& plan) : plan_(plan), inputs_(plan.inputs()) {}
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        if (!std::strcmp(name, "arguments")) return TensorIOMode::kOUTPUT;
        for (const std::string& input : inputs_)
            if (input == name) return TensorIOMode::kINPUT;
        return TensorIOMode::kNONE;
    }
    int32_t getNbIOTensors() const noexcept override {
        return static_cast<int32_t>(inputs_.size()) + 1;
    }
    char const* getIOTensorName(int32_t index) const noexcept override {
        return index < getNbIOTensors() - 1 ? inputs_[static_cast<size_t>(index)].c_str()
                                            : "arguments";
    }
    Dims getTensorShape(char const* name) const noexcept override {
        return plan_.shape_of(name, -1);
    }
    Dims getProfileShape(char const* name, int32_t, OptProfileSelector) const noexcept override {
        return plan_.shape_of(name, plan_["least"]);
    }
    DataType getTensorDataType(char const* name) const noexcept override {
        return static_cast<DataType>(plan_[std::strcmp(name, "arguments") ? "type" : "output"]);
    }
    char const* getName() const noexcept override { return plan_.name.c_str(); }
    IExecutionContext* createExecutionContext(
        ExecutionContextAllocationStrategy) noexcept override {
        if (plan_["fails"] == 2) {
            logger->log(ILogger::Severity::kERROR, "OutOfMemory (no device memory)");
            return nullptr;
        }
        return new ContextHandle(plan_);
    }

private:
    Plan plan_;
    std::vector<std::string> inputs_;
};

struct EngineHandle final : ICudaEngine {
    explicit EngineHandle(const Plan& plan) : implementation(plan) { mImpl = &implementation; }
    Engine implementation;
};

class Runtime final : public apiv::VRuntimeStub {
public:
    ICudaEngine* deserializeCudaEngine(void const* blob, std::size_t size) noexcept override {
        std::istringstream words(std::string(static_cast<const char*>(blob), size));
        std::string word;
        Plan plan;
        words >> word;
        for (bool known = word == "ftrt"; known && words >> word;) {
            plan.values[word.substr(0, word.find('='))] = std::atoll(&word[word.find('=') + 1]);
            if (word.rfind("name=", 0) == 0) plan.name = word.substr(5);
        }
        if (plan.name.empty())
            plan.name = plan["regions"] ? "Unnamed"
                                        : "harmonizer-1f:temperature,brightness,contrast,"
                                          "saturation,highlight,shadow";
        if (size < 4 || std::memcmp(blob, "ftrt", 4) || plan["fails"] == 1) {
            logger->log(ILogger::Severity::kERROR, "expecting library version 11.1.0 got 9.9.9");
            return nullptr;
        }
        return new EngineHandle(plan);
    }
};

struct RuntimeHandle final : IRuntime {
    RuntimeHandle() { mImpl = &implementation; }
    Runtime implementation;
};

}  // namespace
}  // namespace nvinfer1

extern "C" void* createInferRuntime_INTERNAL(void* log, int32_t version) noexcept {
    nvinfer1::logger = static_cast<nvinfer1::ILogger*>(log);
    if (version != NV_TENSORRT_VERSION || std::getenv("HZ_REFUSE_VERSION")) {
        nvinfer1::logger->log(nvinfer1::ILogger::Severity::kERROR, "another version");
        return nullptr;
    }
    return new nvinfer1::RuntimeHandle;
}
