/* Filter arguments as the sample takes them. */
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "harmonizer.hpp"

/* A file or an option that cannot be used; the message says why. */
struct InputError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* `text` is "temperature=0.1,shadow=-0.2" (drawn in that order), or the path of a JSON file that
   `harmonizer image --save-arguments` wrote. Throws InputError. */
harmonizer::Program read_arguments(const std::string& text);

/* "temperature,shadow" as operations in drawing order. Throws InputError. */
std::vector<int32_t> read_filters(const std::string& text);
