#include "options.h"

#include <sys/stat.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>

#include "hz_operations.h"

const char* const kUsage =
    R"(usage: harmonize IMAGE [MASK] -o OUT (--arguments A | --engine FILE) [options]
       harmonize --raw WIDTHxHEIGHT MASK (--arguments A | --engine FILE) [options] <frames >frames

Harmonize a picture (PPM, PAM; PNG where built with libpng), or raw rgb24 frames from stdin to
stdout. MASK is a PGM (or grey PAM, PNG); without one, the alpha of IMAGE. With --raw it is a file
of bytes: one mask for all frames, or one for each. Timings go to stderr.

  -o OUT                 .ppm, .pam (.png)
  --arguments A          temperature=0.1,shadow=-0.2 in drawing order, or a .json file written by
                         `harmonizer image --save-arguments`
  --engine FILE          TensorRT engine that predicts them (--backend cuda)
  --filters NAMES        what the engine predicts, in order; default: what it names, or
                         piecewise_curve for an engine of S2CRNet
  --label NAME           what the foreground shows, for S2CRNet: person, animal, food, vehicle or
                         other (the default)
  --strength S           0 to 1.5, default 1
  --mask-levels B,W      values of the mask that count as no and as full foreground, such as 0,1 for
                         labels; default: 0 and 255 (65535)
  --backend cpu|cuda     default cpu
  --threads N            of the CPU; default: all
  --device N             of CUDA; default 0
  --kernels FILE         hz_kernels.fatbin; default: beside the library
  --tensorrt FILE        libnvinfer.so; default: where the system finds it
  --repeat N             harmonize a picture N times, for the timings
)";

namespace {

std::string shown(double number) {
    std::ostringstream text;
    text.precision(10);
    text << number;
    return text.str();
}

template <typename Number>
Number number_of(const std::string& flag, const std::string& text, double least, double most) {
    char* stop = nullptr;
    const double value = std::strtod(text.c_str(), &stop);
    const auto number = static_cast<Number>(value);
    if (text.empty() || *stop || !(value >= least && value <= most) ||
        static_cast<double>(number) != value)
        throw UsageError(flag + " needs a number from " + shown(least) + " to " + shown(most) +
                         "; got `" + text + "`.");
    return number;
}

/* Also by another name or link. */
bool same_file(const std::string& a, const std::string& b) {
    struct stat first, second;
    return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

void read_size(Options& options) {
    const size_t cross = options.raw.find('x');
    if (cross == std::string::npos)
        throw UsageError("--raw needs WIDTHxHEIGHT; got `" + options.raw + "`.");
    options.width = number_of<long long>("--raw", options.raw.substr(0, cross), 1, 65536);
    options.height = number_of<long long>("--raw", options.raw.substr(cross + 1), 1, 65536);
}

void check(Options& options, const std::vector<std::string>& files) {
    const bool raw = !options.raw.empty();
    if (raw) read_size(options);
    const size_t least = 1, most = raw ? 1 : 2;
    if (files.size() < least || files.size() > most)
        throw UsageError(raw ? "--raw needs exactly one file, the mask."
                             : "an IMAGE is needed, and at most one MASK.");
    options.image = raw ? "" : files[0];
    options.mask = raw ? files[0] : files.size() > 1 ? files[1] : "";
    if (raw != options.output.empty())
        throw UsageError(raw ? "--raw writes to stdout; drop -o." : "-o OUT is needed.");
    if (options.arguments.empty() == options.engine.empty())
        throw UsageError("exactly one of --arguments and --engine is needed.");
    if (options.backend != "cpu" && options.backend != "cuda")
        throw UsageError("--backend must be cpu or cuda; got `" + options.backend + "`.");
    if (!options.engine.empty() && options.backend != "cuda")
        throw UsageError("--engine needs --backend cuda.");
    if (!options.filters.empty() && options.engine.empty())
        throw UsageError("--filters belongs to --engine; --arguments names its own.");
    if (!options.label.empty() && options.engine.empty())
        throw UsageError("--label belongs to --engine; --arguments needs none.");
    if (raw && options.repeat != 1) throw UsageError("--repeat is for a picture; drop it.");
    for (const std::string& input :
         {options.image, options.mask, options.arguments, options.engine})
        if (!raw && same_file(options.output, input))
            throw UsageError("-o " + options.output + " would replace an input, " + input +
                             "; name another file.");
}

}  // namespace

Options read_options(const std::vector<std::string>& words) {
    Options options;
    const std::map<std::string, std::function<void(const std::string&)>> flags = {
        {"-o", [&](const std::string& text) { options.output = text; }},
        {"--raw", [&](const std::string& text) { options.raw = text; }},
        {"--arguments", [&](const std::string& text) { options.arguments = text; }},
        {"--engine", [&](const std::string& text) { options.engine = text; }},
        {"--filters", [&](const std::string& text) { options.filters = text; }},
        {"--label", [&](const std::string& text) { options.label = text; }},
        {"--mask-levels", [&](const std::string& text) { options.mask_levels = text; }},
        {"--tensorrt", [&](const std::string& text) { options.tensorrt = text; }},
        {"--kernels", [&](const std::string& text) { options.kernels = text; }},
        {"--backend", [&](const std::string& text) { options.backend = text; }},
        {"--strength",
         [&](const std::string& text) {
             options.strength = number_of<double>("--strength", text, 0, HZ_MAX_STRENGTH);
         }},
        {"--threads",
         [&](const std::string& text) {
             options.threads = number_of<int>("--threads", text, 1, 256);
         }},
        {"--device",
         [&](const std::string& text) {
             options.device = number_of<int>("--device", text, 0, 1023);
         }},
        {"--repeat",
         [&](const std::string& text) {
             options.repeat = number_of<int>("--repeat", text, 1, 1000000);
         }},
    };
    std::vector<std::string> files;
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word == "-h" || word == "--help") {
            options.help = true;
            return options;
        }
        const auto flag = flags.find(word);
        if (flag != flags.end()) {
            if (i + 1 == words.size()) throw UsageError(word + " needs a value.");
            flag->second(words[++i]);
        } else if (word.size() > 1 && word[0] == '-') {
            throw UsageError("there is no option " + word + ".");
        } else {
            files.push_back(word);
        }
    }
    check(options, files);
    return options;
}
