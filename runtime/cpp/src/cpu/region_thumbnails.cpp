/* Two antialiased thumbnails: the foreground's bounding box under its mask, and the picture under
   what the mask leaves. Each row of results is made by one thread in one order, so the number of
   threads does not show. */
#include "cpu/region_thumbnails.h"

#include <algorithm>
#include <string>
#include <vector>

#include "api/checks.h"
#include "api/renderer.h"
#include "cpu/kernels.h"
#include "cpu/threads.h"
#include "hz_antialias.h"

namespace hz_cpu {
namespace {

constexpr int64_t kPixelsToSearch = 1 << 18;
constexpr int kRowsOfBand = 8; /* neighbouring results share half of their rows in the cache */

/* First and end of rows and columns; all 0 for no foreground. */
struct Box {
    int64_t top = 0, bottom = 0, left = 0, right = 0;
};

Box bounding_box(const hz_mask& mask, int threads) {
    const Bands bands = make_bands(mask.width, mask.height, kPixelsToSearch, 1 << 20, threads);
    std::vector<uint8_t> columns(static_cast<size_t>(mask.width));
    Mutex lock;
    Box box;
    for_each_band(bands, [&](int, int64_t first, int64_t end) {
        std::vector<uint8_t> marked(static_cast<size_t>(mask.width));
        int64_t top = end, bottom = first;
        for (int64_t y = first; y < end; ++y) {
            if (!kernels().mark_foreground(mask, y, marked.data())) continue;
            top = std::min(top, y);
            bottom = y + 1;
        }
        if (top == end) return;
        const Guard guard(lock);
        box.top = box.bottom == 0 ? top : std::min(box.top, top);
        box.bottom = std::max(box.bottom, bottom);
        for (size_t x = 0; x < marked.size(); ++x) columns[x] |= marked[x];
    });
    const auto first = std::find(columns.begin(), columns.end(), 1);
    if (first == columns.end()) return box;
    box.left = first - columns.begin();
    box.right = columns.rend() - std::find(columns.rbegin(), columns.rend(), 1);
    return box;
}

/* The windows of one axis with their weights. */
struct Axis {
    explicit Axis(int64_t source) {
        std::vector<size_t> offsets;
        for (int i = 0; i < HZ_THUMBNAIL_SIZE; ++i) {
            const hz::Window window = hz::window_at(i, source, HZ_THUMBNAIL_SIZE);
            offsets.push_back(weights.size());
            taps.push_back({window.first, window.count, nullptr});
            for (int64_t k = 0; k < window.count; ++k) weights.push_back(window.weight(k));
        }
        for (size_t i = 0; i < taps.size(); ++i) taps[i].weights = weights.data() + offsets[i];
    }
    std::vector<float> weights;
    std::vector<Taps> taps;
};

/* The part of a picture and its mask that lies in the box. */
void crop(const Box& box, hz_image& image, hz_mask& mask) {
    image.data =
        static_cast<char*>(image.data) + box.top * image.row_stride + box.left * image.pixel_stride;
    mask.data = static_cast<const char*>(mask.data) + box.top * mask.row_stride +
                box.left * mask.pixel_stride;
    image.width = mask.width = box.right - box.left;
    image.height = mask.height = box.bottom - box.top;
}

}  // namespace

void make_region_thumbnails(const hz_image& image, const hz_mask& mask, float* foreground,
                            float* background, int threads) {
    const Box box = bounding_box(mask, threads);
    const int64_t height = box.bottom - box.top, width = box.right - box.left;
    if (height == 0) hz_api::refuse_empty_region();
    if (height == 1 || width == 1)
        hz_api::refuse_thin_region("one of " + std::to_string(height) + "x" +
                                   std::to_string(width));
    RegionJob inside = {image, mask, nullptr, nullptr, false, foreground};
    crop(box, inside.image, inside.mask);
    const RegionJob outside = {image, mask, nullptr, nullptr, true, background};
    RegionJob jobs[] = {inside, outside};
    const Axis rows[] = {Axis(jobs[0].image.height), Axis(jobs[1].image.height)};
    const Axis columns[] = {Axis(jobs[0].image.width), Axis(jobs[1].image.width)};
    for (int i = 0; i < 2; ++i) {
        jobs[i].rows = rows[i].taps.data();
        jobs[i].columns = columns[i].taps.data();
    }
    Bands bands = make_bands(image.width, image.height, kPixelsToSearch, 1 << 20, threads);
    bands.rows = 2 * HZ_THUMBNAIL_SIZE;
    bands.rows_per_band = kRowsOfBand;
    bands.count = 2 * HZ_THUMBNAIL_SIZE / kRowsOfBand;
    const Kernels& chosen = kernels();
    for_each_band(bands, [&](int, int64_t first, int64_t end) {
        for (int64_t row = first; row < end; ++row)
            chosen.draw_region_row(jobs[row / HZ_THUMBNAIL_SIZE],
                                   static_cast<int>(row % HZ_THUMBNAIL_SIZE));
    });
}

}  // namespace hz_cpu
