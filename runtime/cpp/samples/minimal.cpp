/* The shortest program that draws: a look on the part of a picture that a mask selects.

       minimal composite.ppm mask.pgm out.ppm      (binary, 8 bits, without comments) */
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "harmonizer.hpp"

struct Picture {
    int width = 0, height = 0;
    std::vector<char> bytes;
};

Picture read(const std::string& path, const std::string& magic, int channels) {
    std::ifstream file(path, std::ios::binary);
    std::string kind, maximum;
    Picture picture;
    file >> kind >> picture.width >> picture.height >> maximum;
    if (!file || kind != magic || maximum != "255")
        throw std::runtime_error(path + " is no " + magic);
    file.get();
    picture.bytes.resize(size_t(channels) * picture.width * picture.height);
    file.read(picture.bytes.data(), std::streamsize(picture.bytes.size()));
    if (!file) throw std::runtime_error(path + " ends too early");
    return picture;
}

int main(int count, char** words) try {
    if (count != 4) throw std::runtime_error("usage: minimal composite.ppm mask.pgm out.ppm");
    Picture picture = read(words[1], "P6", 3);
    const Picture mask = read(words[2], "P5", 1);
    auto* const pixels = reinterpret_cast<uint8_t*>(picture.bytes.data());
    const auto* const coverage = reinterpret_cast<const uint8_t*>(mask.bytes.data());

    const harmonizer::Program look{{HZ_OP_TEMPERATURE, 0.2}, {HZ_OP_CONTRAST, -0.3}};
    const auto view = harmonizer::ImageView::rgb(pixels, picture.width, picture.height);
    harmonizer::Renderer::cpu().harmonize(
        view, harmonizer::MaskView::of(coverage, mask.width, mask.height), view, look);

    std::ofstream out(words[3], std::ios::binary);
    out << "P6\n" << picture.width << ' ' << picture.height << "\n255\n";
    out.write(picture.bytes.data(), std::streamsize(picture.bytes.size()));
    return out.flush() ? 0 : 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
