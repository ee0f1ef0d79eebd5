#include "png_files.h"

#include "arguments.h"

#if defined(HARMONIZE_PNG)
#include <png.h>

namespace {
constexpr uint64_t kMostPixels = 200000000;
}

bool png_supported() { return true; }

Picture read_png(const std::string& path, const std::vector<uint8_t>& bytes) {
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()))
        throw InputError(path + " must be a PNG file; " + image.message + ".");
    if (image.format & PNG_FORMAT_FLAG_LINEAR) {
        png_image_free(&image);
        throw InputError(path + " must have 8 bits a value; it has 16. Convert it to PAM.");
    }
    if (uint64_t{image.width} * image.height > kMostPixels) {
        png_image_free(&image);
        throw InputError(path + " must have at most " + std::to_string(kMostPixels) +
                         " pixels. Scale it down.");
    }
    Picture picture;
    picture.width = image.width;
    picture.height = image.height;
    if (image.format & PNG_FORMAT_FLAG_ALPHA)
        image.format = PNG_FORMAT_RGBA;
    else
        image.format = image.format & PNG_FORMAT_FLAG_COLOR ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    picture.channels = static_cast<int>(PNG_IMAGE_PIXEL_CHANNELS(image.format));
    picture.data.resize(PNG_IMAGE_SIZE(image));
    if (!png_image_finish_read(&image, nullptr, picture.data.data(), 0, nullptr))
        throw InputError(path + " must be a whole PNG file; " + image.message + ".");
    return picture;
}

void write_png(const std::string& path, const Picture& picture) {
    if (picture.bytes != 1)
        throw InputError(path + " must end in .ppm or .pam for 16 bits. Name another file.");
    png_image image = {};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(picture.width);
    image.height = static_cast<png_uint_32>(picture.height);
    image.format = picture.channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    if (!png_image_write_to_file(&image, path.c_str(), 0, picture.data.data(), 0, nullptr))
        throw InputError(path + " must be writable; " + image.message + ".");
}

#else

bool png_supported() { return false; }

Picture read_png(const std::string& path, const std::vector<uint8_t>&) {
    throw InputError(path + " must be PPM, PGM or PAM: this program was built without libpng.");
}

void write_png(const std::string& path, const Picture&) {
    throw InputError(path + " must end in .ppm or .pam: this program was built without libpng.");
}

#endif
