#include "pictures.h"

#include <sys/stat.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>

#include "api/system.h"
#include "arguments.h"
#include "png_files.h"

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 36, kMostFileBytes = int64_t{8} << 30;

std::string suffix_of(const std::string& path) {
    const size_t dot = path.rfind('.');
    return dot == std::string::npos ? "" : path.substr(dot);
}

std::vector<uint8_t> read_bytes(const std::string& path) {
    std::string reason;
    const std::vector<char> bytes = hz_api::read_regular(path, kMostFileBytes, reason);
    if (!reason.empty()) throw InputError(path + " must be a readable picture; " + reason + ".");
    return std::vector<uint8_t>(bytes.begin(), bytes.end());
}

/* Netpbm stores 16-bit values with the high byte first. */
void swap_if_needed(std::vector<uint8_t>& data, int bytes) {
    const uint16_t probe = 1;
    uint8_t first;
    std::memcpy(&first, &probe, 1);
    if (bytes != 2 || !first) return;
    for (size_t i = 0; i + 1 < data.size(); i += 2) std::swap(data[i], data[i + 1]);
}

/* Header of P5, P6 and P7; `at` moves to the first pixel. */
class Header {
public:
    Header(const std::string& path, const std::vector<uint8_t>& bytes)
        : path_(path), bytes_(bytes) {}

    Picture read(size_t& at) {
        at_ = 2;
        Picture picture;
        int64_t maximum = 0;
        if (bytes_[1] == '7') {
            maximum = read_pam(picture);
        } else {
            picture.channels = bytes_[1] == '5' ? 1 : 3;
            picture.width = number(word());
            picture.height = number(word());
            maximum = number(word());
        }
        ++at_;
        if (maximum != 255 && maximum != 65535)
            fail("have a largest value of 255 or 65535; it has " + std::to_string(maximum));
        picture.bytes = maximum == 255 ? 1 : 2;
        if (picture.width < 1 || picture.height < 1 ||
            picture.width > kMostBytes / picture.height / 8)
            fail("have a width and a height that are possible");
        at = at_;
        return picture;
    }

private:
    [[noreturn]] void fail(const std::string& rule) const {
        throw InputError(path_ + " must " + rule +
                         ". Write it again as 8- or 16-bit PPM, PGM or "
                         "PAM.");
    }

    int64_t read_pam(Picture& picture) {
        int64_t maximum = 0;
        for (std::string name = word(); name != "ENDHDR"; name = word()) {
            if (name.empty()) fail("have a complete header");
            const std::string value = word();
            if (name == "WIDTH") picture.width = number(value);
            if (name == "HEIGHT") picture.height = number(value);
            if (name == "DEPTH") picture.channels = static_cast<int>(number(value));
            if (name == "MAXVAL") maximum = number(value);
        }
        if (picture.channels != 1 && picture.channels != 3 && picture.channels != 4)
            fail("have 1, 3 or 4 channels; it has " + std::to_string(picture.channels));
        return maximum;
    }

    std::string word() {
        while (at_ < bytes_.size() && (std::isspace(bytes_[at_]) || bytes_[at_] == '#')) {
            if (bytes_[at_] == '#')
                while (at_ < bytes_.size() && bytes_[at_] != '\n') ++at_;
            else
                ++at_;
        }
        std::string text;
        while (at_ < bytes_.size() && !std::isspace(bytes_[at_]))
            text += static_cast<char>(bytes_[at_++]);
        return text;
    }

    int64_t number(const std::string& text) const {
        char* stop = nullptr;
        const long long value = std::strtoll(text.c_str(), &stop, 10);
        if (text.empty() || *stop || text.size() > 9) fail("have whole numbers in its header");
        return value;
    }

    const std::string& path_;
    const std::vector<uint8_t>& bytes_;
    size_t at_ = 0;
};

Picture read_netpbm(const std::string& path, const std::vector<uint8_t>& bytes) {
    size_t at = 0;
    Picture picture = Header(path, bytes).read(at);
    const size_t wanted = static_cast<size_t>(picture.row_bytes() * picture.height);
    if (at > bytes.size() || bytes.size() - at < wanted)
        throw InputError(path + " must hold " + std::to_string(wanted) +
                         " bytes of pixels; it is cut short. Copy it again.");
    picture.data.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(at + wanted));
    swap_if_needed(picture.data, picture.bytes);
    return picture;
}

std::string header_of(const std::string& path, const Picture& picture) {
    std::ostringstream header;
    const int maximum = picture.bytes == 1 ? 255 : 65535;
    if (suffix_of(path) == ".pam")
        header << "P7\nWIDTH " << picture.width << "\nHEIGHT " << picture.height << "\nDEPTH "
               << picture.channels << "\nMAXVAL " << maximum << "\nTUPLTYPE "
               << (picture.channels == 4 ? "RGB_ALPHA" : "RGB") << "\nENDHDR\n";
    else if (suffix_of(path) == ".ppm" && picture.channels == 3)
        header << "P6\n" << picture.width << " " << picture.height << "\n" << maximum << "\n";
    else
        throw InputError(path + " must end in .ppm, .pam" + (png_supported() ? " or .png" : "") +
                         ", and .ppm holds no alpha. Name another file.");
    return header.str();
}

template <typename T>
harmonizer::ImageView view_of(Picture& picture) {
    T* const data = reinterpret_cast<T*>(picture.data.data());
    return picture.channels == 4 ? harmonizer::ImageView::rgba(data, picture.width, picture.height)
                                 : harmonizer::ImageView::rgb(data, picture.width, picture.height);
}

template <typename T>
harmonizer::MaskView mask_of(const Picture& picture) {
    const T* const data = reinterpret_cast<const T*>(picture.data.data());
    return picture.channels == 4 ? harmonizer::MaskView::alpha(data, picture.width, picture.height)
                                 : harmonizer::MaskView::of(data, picture.width, picture.height);
}

}  // namespace

harmonizer::ImageView Picture::image() {
    return bytes == 1 ? view_of<uint8_t>(*this) : view_of<uint16_t>(*this);
}

harmonizer::MaskView Picture::mask() const {
    return bytes == 1 ? mask_of<uint8_t>(*this) : mask_of<uint16_t>(*this);
}

Picture Picture::coverage() const {
    if (channels == 1) return *this;
    Picture grey;
    grey.width = width, grey.height = height, grey.channels = 1, grey.bytes = bytes;
    grey.data.resize(static_cast<size_t>(grey.row_bytes() * height));
    const size_t size = static_cast<size_t>(bytes), stride = static_cast<size_t>(channels) * size;
    for (size_t i = 0; i * size < grey.data.size(); ++i)
        std::memcpy(&grey.data[i * size], &data[(i + 1) * stride - size], size);
    return grey;
}

Picture read_picture(const std::string& path) {
    const std::vector<uint8_t> bytes = read_bytes(path);
    if (bytes.size() > 8 && !std::memcmp(bytes.data(), "\x89PNG\r\n\x1a\n", 8))
        return read_png(path, bytes);
    if (bytes.size() > 2 && bytes[0] == 'P' && bytes[1] >= '5' && bytes[1] <= '7')
        return read_netpbm(path, bytes);
    throw InputError(path + " must be a PPM, PGM or PAM file" +
                     (png_supported() ? ", or PNG" : "") + "; it is none. Convert it.");
}

void write_picture(const std::string& path, const Picture& picture) {
    if (png_supported() && suffix_of(path) == ".png") return write_png(path, picture);
    const std::string header = header_of(path, picture);
    std::vector<uint8_t> data = picture.data;
    swap_if_needed(data, picture.bytes);
    struct stat status;
    if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        throw InputError(path + " must be a file to write; there is another thing of that name.");
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    const bool written = file &&
                         std::fwrite(header.data(), 1, header.size(), file) == header.size() &&
                         std::fwrite(data.data(), 1, data.size(), file) == data.size();
    const int reason = errno;
    if ((file && std::fclose(file) != 0) || !written)
        throw InputError(path + " must be writable; " + std::strerror(reason) + ".");
}
