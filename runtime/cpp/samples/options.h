/* The command line of the sample. */
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

struct Options {
    std::string image, mask, output; /* files */
    std::string raw;                 /* WIDTHxHEIGHT: frames on stdin instead */
    std::string backend = "cpu", kernels;
    std::string arguments, engine, filters, label, tensorrt;
    std::string mask_levels;
    double strength = 1;
    int threads = 0, device = 0, repeat = 1;
    long long width = 0, height = 0; /* of raw frames */
    bool help = false;
};

/* Wrong use of the command line: exit code 2. */
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

extern const char* const kUsage;

/* Throws UsageError for what is unknown, missing or contradictory. */
Options read_options(const std::vector<std::string>& words);
