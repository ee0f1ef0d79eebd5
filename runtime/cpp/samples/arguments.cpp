#include "arguments.h"

#include <cmath>
#include <cstdlib>
#include <sstream>

#include "api/system.h"
#include "json.h"

namespace {

constexpr double kMinima[] = HZ_OP_MINIMA, kMaxima[] = HZ_OP_MAXIMA;
constexpr int64_t kMostBytes = 16 << 20;
constexpr const char* kFormat = "harmonizer-arguments";

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
    return parts;
}

int32_t operation_of(const std::string& name) {
    try {
        return harmonizer::operation_code(name);
    } catch (const harmonizer::Error& error) {
        throw InputError(error.what());
    }
}

/* The operation of a name that is new to the program. */
int32_t another(const harmonizer::Program& program, const std::string& name) {
    const int32_t code = operation_of(name);
    for (const hz_step& step : program)
        if (step.operation == code)
            throw InputError("each filter must come once; `" + name + "` comes twice.");
    return code;
}

void check_range(int32_t code, const std::string& name, double value) {
    if (!(value >= kMinima[code] && value <= kMaxima[code]))
        throw InputError("argument `" + name + "` must lie in [" + std::to_string(kMinima[code]) +
                         ", " + std::to_string(kMaxima[code]) + "]; got " + std::to_string(value) +
                         ".");
}

void add(harmonizer::Program& program, const std::string& name, double value) {
    const int32_t code = another(program, name);
    if (code == HZ_OP_PIECEWISE_CURVE)
        throw InputError("argument `" + name +
                         "` must be 192, 384 or 576 numbers, in a .json "
                         "file; got one.");
    check_range(code, name, value);
    program.add(code, value);
}

void flatten(const Json& value, std::vector<double>& numbers) {
    if (value.kind == Json::Kind::number) numbers.push_back(value.number);
    for (const auto& entry : value.entries) flatten(entry.second, numbers);
}

void add_curves(harmonizer::Program& program, const std::string& name, const Json& stages) {
    const int32_t code = another(program, name);
    std::vector<double> numbers;
    flatten(stages, numbers);
    hz_curves curves = {};
    const size_t of_stage = sizeof curves.slopes[0] / sizeof(float);
    const size_t count = numbers.size() / of_stage;
    if (code != HZ_OP_PIECEWISE_CURVE || numbers.size() % of_stage || count < 1 ||
        count > HZ_CURVE_STAGES)
        throw InputError("argument `" + name +
                         "` must be a number, or 192, 384 or 576 of them for "
                         "piecewise_curve; got " +
                         std::to_string(numbers.size()) + ".");
    curves.stages = static_cast<int32_t>(count);
    for (size_t i = 0; i < numbers.size(); ++i) {
        check_range(code, name, numbers[i]);
        curves.slopes[0][0][i] = static_cast<float>(numbers[i]);
    }
    program.add(curves);
}

harmonizer::Program parse_pairs(const std::string& text) {
    harmonizer::Program program;
    for (const std::string& part : split(text)) {
        const size_t equals = part.find('=');
        const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
        char* stop = nullptr;
        const double number = std::strtod(value.c_str(), &stop);
        if (value.empty() || *stop)
            throw InputError(
                "--arguments must be name=number pairs with commas between them, or "
                "a .json file; got `" +
                part + "`.");
        add(program, part.substr(0, equals), number);
    }
    return program;
}

harmonizer::Program read_document(const std::string& path) {
    std::string reason;
    const std::vector<char> bytes = hz_api::read_regular(path, kMostBytes, reason);
    const std::string text(bytes.begin(), bytes.end());
    if (!reason.empty())
        throw InputError(path + " must be a readable file of arguments; " + reason +
                         ". Write one with "
                         "`harmonizer image --save-arguments`.");
    Json document;
    try {
        document = parse_json(text);
    } catch (const std::runtime_error& error) {
        throw InputError(path + " must be a JSON file of arguments; " + error.what() + ".");
    }
    const Json* format = document.find("format", Json::Kind::string);
    const Json* version = document.find("version", Json::Kind::number);
    const Json* filters = document.find("filters", Json::Kind::array);
    const Json* arguments = document.find("arguments", Json::Kind::object);
    if (!format || format->string != kFormat || !version || version->number != 1 || !filters ||
        !arguments)
        throw InputError(path + " must have format \"" + kFormat +
                         "\", version 1, filters and arguments. Write it with `harmonizer image "
                         "--save-arguments`.");
    harmonizer::Program program;
    for (const auto& filter : filters->entries) {
        const std::string& name = filter.second.string;
        const Json* value = arguments->find(name, Json::Kind::number);
        const Json* stages = arguments->find(name, Json::Kind::array);
        if (!value && !stages)
            throw InputError(path + " must give a number for the filter `" + name + "`.");
        try {
            if (value)
                add(program, name, value->number);
            else
                add_curves(program, name, *stages);
        } catch (const InputError& error) {
            throw InputError(path + ": " + error.what());
        }
    }
    if (filters->entries.size() != arguments->entries.size())
        throw InputError(path + " must have one argument for each of its filters; it has " +
                         std::to_string(arguments->entries.size()) + " for " +
                         std::to_string(filters->entries.size()) + ".");
    return program;
}

}  // namespace

harmonizer::Program read_arguments(const std::string& text) {
    const std::string suffix = ".json";
    const bool document = text.size() > suffix.size() &&
                          text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
    return document ? read_document(text) : parse_pairs(text);
}

std::vector<int32_t> read_filters(const std::string& text) {
    std::vector<int32_t> operations;
    for (const std::string& name : split(text)) operations.push_back(operation_of(name));
    return operations;
}
