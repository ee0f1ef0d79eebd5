/* As much JSON as an arguments file needs: objects, arrays, strings, numbers. */
#pragma once

#include <string>
#include <utility>
#include <vector>

struct Json {
    enum class Kind { object, array, string, number };
    Kind kind = Kind::object;
    double number = 0;
    std::string string;
    std::vector<std::pair<std::string, Json>> entries; /* of an array without names */

    /* Null if there is none of that name and kind. */
    const Json* find(const std::string& name, Kind wanted) const;
};

/* Throws std::runtime_error with the position of what cannot be read, and for repeated keys. */
Json parse_json(const std::string& text);
