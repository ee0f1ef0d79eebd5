/* The C interface under attack: each input is a call of hz_measure, hz_render, hz_thumbnail or
   hz_region_thumbnails with sizes, strides, types and programs from its bytes.

   With clang: -fsanitize=fuzzer,address,undefined. Without libFuzzer, -DSTANDALONE adds a `main` that
   makes its own inputs: c_api COUNT SEED. A call is made where every value that it may touch lies in
   the memory handed over, or where it must be refused; the sanitizers watch. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "harmonizer.h"

namespace {

constexpr int64_t kMemory = 1 << 16;
constexpr int64_t kFar[] = {INT64_MAX, INT64_MIN, int64_t{1} << 62, -(int64_t{1} << 57), 0, 1, -1,
                            3,         4};

class Bytes {
public:
    Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

    template <typename T>
    T take() {
        T value = {};
        const size_t count = size_ < sizeof value ? size_ : sizeof value;
        std::memcpy(&value, data_, count);
        data_ += count;
        size_ -= count;
        return value;
    }

    int64_t between(int64_t least, int64_t most) {
        return least + static_cast<int64_t>(take<uint16_t>()) % (most - least + 1);
    }

private:
    const uint8_t* data_;
    size_t size_;
};

int64_t bytes_of(int32_t type) { return type == HZ_F32 ? 4 : type == HZ_U16 ? 2 : 1; }

struct Span {
    __int128 low, high;
};

Span span_of(int64_t width, int64_t height, int64_t row, int64_t pixel, int64_t channels,
             int64_t channel, int32_t type) {
    Span span = {0, bytes_of(type)};
    const __int128 steps[] = {static_cast<__int128>(height - 1) * row,
                              static_cast<__int128>(width - 1) * pixel,
                              static_cast<__int128>(channels - 1) * channel};
    for (const __int128 step : steps) (step < 0 ? span.low : span.high) += step;
    return span;
}

/* Sets `data` so that the span lies in the memory; false if none does. */
template <typename Pointer>
bool place(Pointer& data, std::vector<float>& memory, const Span& span, int32_t type) {
    char* const first = reinterpret_cast<char*>(memory.data());
    const __int128 needed = span.high - span.low;
    if (needed > kMemory) {
        data = first + kMemory / 2;
        return false;
    }
    __int128 offset = -span.low;
    offset += (bytes_of(type) - offset % bytes_of(type)) % bytes_of(type);
    data = first + static_cast<int64_t>(offset);
    return offset + span.high <= kMemory;
}

int64_t stride_of(Bytes& bytes, int64_t usual, int64_t unit) {
    const int64_t choice = bytes.between(0, 9);
    if (choice < 6) return usual;
    if (choice == 6) return -usual;
    if (choice == 7) return kFar[bytes.between(0, 8)];
    return unit * bytes.between(-300, 300);
}

bool sane(int64_t stride) { return stride > -(int64_t{1} << 56) && stride < int64_t{1} << 56; }

hz_image image_of(Bytes& bytes, int32_t type, int64_t width, int64_t height) {
    hz_image image = {};
    image.type = type;
    image.width = width;
    image.height = height;
    const int64_t unit = bytes_of(type);
    image.channel_stride = stride_of(bytes, unit, unit);
    image.pixel_stride = stride_of(bytes, 3 * unit, unit);
    image.row_stride = stride_of(bytes, 3 * unit * width, unit);
    return image;
}

bool aligned(const hz_image& image) {
    const int64_t unit = bytes_of(image.type);
    return image.row_stride % unit == 0 && image.pixel_stride % unit == 0 &&
           image.channel_stride % unit == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes bytes(data, size);
    std::vector<float> first(kMemory / 4), second(kMemory / 4), third(kMemory / 4);
    for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<float>(i % 97) / 97;
    std::memset(second.data(), 0x5a, static_cast<size_t>(kMemory));
    const int32_t type = static_cast<int32_t>(bytes.between(0, 7)) - 2;
    int64_t width = bytes.between(1, 40), height = bytes.between(1, 40);
    if (bytes.between(0, 30) == 0) width = kFar[bytes.between(0, 8)];
    if (bytes.between(0, 30) == 0) height = kFar[bytes.between(0, 8)];
    const int32_t kind = type < 0 || type > HZ_F32 ? static_cast<int32_t>(HZ_U8) : type;
    const bool sized = width > 0 && height > 0 && width <= 40 && height <= 40;

    hz_image image = image_of(bytes, kind, sized ? width : 1, sized ? height : 1);
    hz_image out = image_of(bytes, kind, sized ? width : 1, sized ? height : 1);
    bool fits = true;
    fits = place(image.data, first,
                 span_of(image.width, image.height, image.row_stride, image.pixel_stride, 3,
                         image.channel_stride, kind),
                 kind) &&
           fits;
    fits = place(out.data, bytes.between(0, 4) ? third : first,
                 span_of(out.width, out.height, out.row_stride, out.pixel_stride, 3,
                         out.channel_stride, kind),
                 kind) &&
           fits;
    image.type = type;
    out.type = bytes.between(0, 20) ? type : HZ_U8;
    image.width = out.width = width;
    image.height = out.height = height;

    hz_mask mask = {};
    mask.type = static_cast<int32_t>(bytes.between(0, 5)) - 1;
    const int32_t cover = mask.type < 0 || mask.type > HZ_BOOL ? HZ_U8 : mask.type;
    const int64_t unit = bytes_of(cover);
    mask.width = bytes.between(0, 20) ? width : 5;
    mask.height = height;
    mask.pixel_stride = stride_of(bytes, unit, unit);
    mask.row_stride = stride_of(bytes, unit * (sized ? width : 1), unit);
    void* place_of_mask = nullptr;
    if (sized)
        fits =
            place(place_of_mask, second,
                  span_of(mask.width, mask.height, mask.row_stride, mask.pixel_stride, 1, 0, cover),
                  cover) &&
            fits;
    mask.data = sized ? place_of_mask : second.data();
    if (cover == HZ_F32) std::fill(second.begin(), second.end(), 0.5f);

    hz_program program = {};
    program.count = static_cast<int32_t>(bytes.between(0, HZ_MAX_STEPS + 2)) - 1;
    const int32_t steps = program.count < 0              ? 0
                          : program.count > HZ_MAX_STEPS ? HZ_MAX_STEPS
                                                         : program.count;
    for (int32_t i = 0; i < steps; ++i) {
        hz_step& step = program.steps[i];
        step.operation = static_cast<int32_t>(bytes.between(0, HZ_OP_COUNT + 1)) - 1;
        step.argument = bytes.between(0, 30) ? (bytes.between(0, 400) - 200) / 100.0
                                             : static_cast<double>(bytes.take<float>());
        for (double& statistic : step.statistics)
            statistic = bytes.between(0, 30) ? bytes.between(0, 100) / 100.0 : bytes.take<double>();
    }
    program.curves.stages = static_cast<int32_t>(bytes.between(0, HZ_CURVE_STAGES + 2)) - 1;
    for (int32_t s = 0; s < HZ_CURVE_STAGES; ++s)
        for (int32_t c = 0; c < 3; ++c)
            for (int32_t k = 0; k < HZ_CURVE_KNOTS; ++k)
                program.curves.slopes[s][c][k] = static_cast<float>((k + s) % 5) / 2;

    /* What reaches too far must be refused; what lies in between is the caller's own promise. */
    const bool refused = !sized || !sane(image.row_stride) || !sane(image.pixel_stride) ||
                         !sane(image.channel_stride);
    if (!refused && (!fits || !aligned(image) || !aligned(out) || !sane(out.row_stride) ||
                     !sane(out.pixel_stride) || !sane(out.channel_stride) ||
                     !sane(mask.row_stride) || !sane(mask.pixel_stride)))
        return 0;
    const hz_mask* const masked = bytes.between(0, 3) ? &mask : nullptr;
    std::vector<float> thumbnail(3 * 256 * 256), coverage(3 * 256 * 256);
    const int64_t call = bytes.between(0, 3);
    const int32_t threads = static_cast<int32_t>(bytes.between(0, 3)) - 1;
    int32_t status = HZ_OK;
    if (call == 0) status = hz_measure(&image, &program, threads);
    if (call == 1) status = hz_render(&image, masked, &program, &out, threads);
    if (call == 2)
        status = hz_thumbnail(&image, masked, static_cast<int32_t>(bytes.between(0, 256)),
                              thumbnail.data(), coverage.data());
    if (call == 3)
        status = hz_region_thumbnails(&image, masked, thumbnail.data(), coverage.data(), threads);
    if (status != HZ_OK && !hz_last_error()[0]) std::abort();
    if (refused && status == HZ_OK) std::abort();
    return 0;
}

#if defined(STANDALONE)
int main(int count, char** words) {
    if (count != 3) return 2;
    const long calls = std::strtol(words[1], nullptr, 10);
    uint64_t state = std::strtoull(words[2], nullptr, 10) * 2 + 1;
    std::vector<uint8_t> data(512);
    for (long i = 0; i < calls; ++i) {
        for (uint8_t& byte : data) { /* Knuth's multiplier */
            state = state * 6364136223846793005u + 1442695040888963407u;
            byte = static_cast<uint8_t>(state >> 56);
        }
        LLVMFuzzerTestOneInput(data.data(), data.size());
    }
    std::printf("%ld calls\n", calls);
    return 0;
}
#endif
