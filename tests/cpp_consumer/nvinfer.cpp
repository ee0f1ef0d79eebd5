/* A stand-in for libnvinfer: see tests/cpp_tensorrt.py. An "engine" is a text file

       ftrt key=value key=value ...

   count=6          how many arguments it gives: 0.1, -0.2, 0.3, ...
   type=0           of its inputs, as in DataType: 0 float, 1 half
   output=0         type of its output
   size=256         height and width that its inputs have
   least=1          smallest batch of its profile
   lacks=0          1: has no tensor named mask
   fails=0          1: cannot be deserialised; 2: has no memory for a context; 3: cannot run */
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>

#include "nvinfer_stubs.h"

namespace nvinfer1 {

namespace {

ILogger* logger = nullptr;

struct Plan {
    std::map<std::string, int64_t> values = {{"count", 6}, {"type", 0},  {"output", 0},
                                             {"size", 256}, {"least", 1}, {"lacks", 0},
                                             {"fails", 0}};
    int64_t operator[](const char* name) const { return values.at(name); }
};

class Context final : public apiv::VExecutionContextStub {
public:
    explicit Context(const Plan& plan) : plan_(plan) {}
    bool setInputShape(char const* name, Dims const& dims) noexcept override {
        return dims.nbDims == 4 && dims.d[0] == 1 && dims.d[2] == plan_["size"];
    }
    bool setTensorAddress(char const* name, void* data) noexcept override {
        output_ = data;
        return !std::strcmp(name, "arguments");
    }
    bool setInputTensorAddress(char const* name, void const* data) noexcept override {
        return data != nullptr;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
        if (plan_["fails"] == 3) {
            logger->log(ILogger::Severity::kERROR, "cuBLAS is tired");
            return false;
        }
        static float answers[16];
        for (int i = 0; i < 16; ++i)
            answers[i] = static_cast<float>((i % 2 ? -0.1 : 0.1) * (i + 1) / 2);
        void* driver = dlopen("libcuda.so.1", RTLD_NOW);
        using Upload = int (*)(unsigned long long, const void*, size_t, cudaStream_t);
        const auto upload = reinterpret_cast<Upload>(dlsym(driver, "cuMemcpyHtoDAsync_v2"));
        return upload(reinterpret_cast<uintptr_t>(output_), answers,
                      sizeof(float) * static_cast<size_t>(plan_["count"]), stream) == 0;
    }

private:
    Plan plan_;
    void* output_ = nullptr;
};

struct ContextHandle final : IExecutionContext {
    explicit ContextHandle(const Plan& plan) : implementation(plan) { mImpl = &implementation; }
    Context implementation;
};

class Engine final : public apiv::VCudaEngineStub {
public:
    explicit Engine(const Plan& plan) : plan_(plan) {}
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        const std::string text = name;
        if (text == "composite" || (text == "mask" && !plan_["lacks"]))
            return TensorIOMode::kINPUT;
        return text == "arguments" ? TensorIOMode::kOUTPUT : TensorIOMode::kNONE;
    }
    Dims getTensorShape(char const* name) const noexcept override {
        if (!std::strcmp(name, "arguments")) return Dims2(-1, plan_["count"]);
        return Dims4(-1, std::strcmp(name, "mask") ? 3 : 1, plan_["size"], plan_["size"]);
    }
    Dims getProfileShape(char const* name, int32_t, OptProfileSelector) const noexcept override {
        return Dims4(plan_["least"], std::strcmp(name, "mask") ? 3 : 1, 256, 256);
    }
    DataType getTensorDataType(char const* name) const noexcept override {
        return static_cast<DataType>(plan_[std::strcmp(name, "arguments") ? "type" : "output"]);
    }
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
        for (bool known = word == "ftrt"; known && words >> word;)
            plan.values[word.substr(0, word.find('='))] = std::atoll(&word[word.find('=') + 1]);
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
