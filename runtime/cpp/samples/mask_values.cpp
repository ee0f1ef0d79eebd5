#include "mask_values.h"

#include <algorithm>
#include <cstdio>

#include "arguments.h"

MaskLevels read_levels(const std::string& text) {
    MaskLevels levels;
    int end = 0;
    if (std::sscanf(text.c_str(), "%6d,%6d%n", &levels.black, &levels.white, &end) != 2 ||
        static_cast<size_t>(end) != text.size() || levels.black < 0 ||
        levels.black >= levels.white || levels.white > 65535)
        throw InputError(
            "--mask-levels needs two whole numbers, 0 <= black < white <= 65535, such "
            "as 0,1 for labels; got `" +
            text + "`.");
    return levels;
}

template <typename T>
void apply_levels(T* values, size_t count, const MaskLevels& levels) {
    constexpr int full = static_cast<T>(~T{0});
    if (levels.white > full)
        throw InputError("the white of --mask-levels must be at most " + std::to_string(full) +
                         ", the mask's largest value; got " + std::to_string(levels.white) + ".");
    const double range = levels.white - levels.black;
    for (size_t i = 0; i < count; ++i) {
        const double part = std::clamp((values[i] - levels.black) / range, 0.0, 1.0);
        values[i] = static_cast<T>(part * full + 0.5);
    }
}

template <typename T>
void Brightness::see(const T* values, size_t count) {
    const int64_t largest = count ? *std::max_element(values, values + count) : 0;
    brightest_ = std::max(brightest_, largest);
    full_ = static_cast<T>(~T{0});
    frames_ += largest > 0;
    if (frames_ < patience_) return;
    judge();
    frames_ = 0;
}

void Brightness::judge() const {
    if (brightest_ == 0 || 2 * brightest_ >= full_) return;
    const std::string came = std::to_string(brightest_), full = std::to_string(full_);
    throw InputError("the mask in " + name_ + " must have " + full +
                     " where the foreground is full, and reach half of it somewhere; its largest "
                     "value is " +
                     came +
                     ", as in labels or in values of another scale. Name its own black and "
                     "white, --mask-levels 0," +
                     came + "; --mask-levels 0," + full + " takes it as it is.");
}

template void apply_levels(uint8_t*, size_t, const MaskLevels&);
template void apply_levels(uint16_t*, size_t, const MaskLevels&);
template void Brightness::see(const uint8_t*, size_t);
template void Brightness::see(const uint16_t*, size_t);
