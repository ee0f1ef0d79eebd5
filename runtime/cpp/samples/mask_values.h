/* What the values of a mask mean: the rule of the Python package, for the sample's files. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

/* Values that count as no and as full foreground; white 0 is "not given". */
struct MaskLevels {
    int black = 0, white = 0;
    bool given() const { return white > 0; }
};

/* "0,15"; throws InputError. */
MaskLevels read_levels(const std::string& text);

/* Spreads the values over 0 to `full`, 255 or 65535, in place. Throws InputError for levels above
   `full`. */
template <typename T>
void apply_levels(T* values, size_t count, const MaskLevels& levels);

/* Refuses a mask that has a foreground and nothing as bright as half of white: labels, or another
   scale. Frames are counted: a single one of many may be faint, as in a fade. */
class Brightness {
public:
    /* `patience`: how many faint frames with a foreground are waited for. */
    Brightness(std::string name, int patience) : name_(std::move(name)), patience_(patience) {}

    /* Throws InputError. */
    template <typename T>
    void see(const T* values, size_t count);

    /* Throws InputError if all that was seen is faint. */
    void judge() const;

private:
    std::string name_;
    int patience_, frames_ = 0;
    int64_t brightest_ = 0, full_ = 255;
};
