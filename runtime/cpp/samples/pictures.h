/* Picture files for the sample: PPM, PGM and PAM of 8 and 16 bits, and PNG of 8 where libpng is. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harmonizer.hpp"

struct Picture {
    int64_t width = 0, height = 0;
    int channels = 0; /* 1 grey, 3 RGB, 4 RGBA */
    int bytes = 1;    /* of a value; 2 in native order */
    std::vector<uint8_t> data;

    int64_t row_bytes() const { return width * channels * bytes; }
    harmonizer::ImageView image();
    /* Of a grey picture, or the alpha of one with four channels. */
    harmonizer::MaskView mask() const;
    /* That as a grey picture of its own. */
    Picture coverage() const;
};

/* The kind of file is told from its first bytes. Throws InputError. */
Picture read_picture(const std::string& path);

/* .ppm, .pam or .png by the suffix. Throws InputError, also for a depth or channels that the
   format cannot hold. */
void write_picture(const std::string& path, const Picture& picture);
