/* Antialiased thumbnails of a part of a picture, row by row; compiled once for each instruction
   set.

   A row of results needs a window of the picture's rows. These are added up first, with their
   weights, a chunk of columns at a time, while the sums stay in the first-level cache; then the
   chunk is added to the results whose windows it touches. */
#include "cpu/blocks.h"
#include "hz_antialias.h"

namespace HZ_NAMESPACE {

using hz_cpu::RegionJob;
using hz_cpu::Taps;

constexpr int kChunk = 256; /* pixels */
constexpr int kRows = 4;    /* rows added at a time: sums are loaded and stored once for them */
constexpr int kSize = 256;  /* of the thumbnail */

/* Red, green, blue and coverage of one pixel or result. */
typedef float Quad __attribute__((vector_size(16)));

/* A mask's values as numbers whose full scale is 255, 65535 or 1. */
template <typename M>
struct Coverage {
    typedef M Stored;
    static constexpr float full = Full<M>::value;
    HZ_FN static M read(const char* address) { return load<M>(address); }
};
template <>
struct Coverage<bool> {
    typedef uint8_t Stored;
    static constexpr float full = 1;
    HZ_FN static uint8_t read(const char* address) { return *address != 0; }
};

/* Calls body(type) with a value whose type is Coverage<...> of the mask's. */
template <typename Body>
HZ_FN void with_mask_type(int type, const Body& body) {
    switch (type) {
        case HZ_U8:
            return body(Coverage<uint8_t>());
        case HZ_U16:
            return body(Coverage<uint16_t>());
        case HZ_F32:
            return body(Coverage<float>());
        default:
            return body(Coverage<bool>());
    }
}

template <typename C, typename Stride>
HZ_FN bool mark_row(const char* row, Stride stride, int64_t width, uint8_t* __restrict columns) {
    uint8_t any = 0;
    for (int64_t x = 0; x < width; ++x) {
        const uint8_t covered = C::read(row + x * int64_t(stride)) > 0;
        columns[x] = uint8_t(columns[x] | covered);
        any = uint8_t(any | covered);
    }
    return any != 0;
}

bool mark_foreground(const hz_mask& mask, int64_t row, uint8_t* columns) {
    const char* data = static_cast<const char*>(mask.data) + row * mask.row_stride;
    bool any = false;
    with_mask_type(mask.type, [&](auto coverage) {
        typedef decltype(coverage) C;
        constexpr int size = sizeof(typename C::Stored);
        any = mask.pixel_stride == size ? mark_row<C>(data, Fixed<size>(), mask.width, columns)
                                        : mark_row<C>(data, mask.pixel_stride, mask.width, columns);
    });
    return any;
}

/* sums <- sums + the weighted rows, each of n values without gaps */
template <typename S>
void add_rows(const char* const (&rows)[kRows], const float (&weights)[kRows], int n,
              float* __restrict sums) {
    static_assert(kRows == 4);
    const char *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
    const float wa = weights[0], wb = weights[1], wc = weights[2], wd = weights[3];
    for (int i = 0; i < n; ++i) {
        const int64_t at = i * int64_t(sizeof(S));
        const float first = wa * float(load<S>(a + at)) + wb * float(load<S>(b + at));
        const float second = wc * float(load<S>(c + at)) + wd * float(load<S>(d + at));
        sums[i] += first + second;
    }
}

/* Weighted sums over the window of `taps`, of `n` values a row. at(row, place) returns where a
   row's values lie without gaps: in the picture, or gathered into `place`. */
template <typename S, typename At>
void add_window(const Taps& taps, int n, S (*places)[3 * kChunk], float* sums, const At& at) {
    memset(sums, 0, size_t(n) * sizeof *sums);
    for (int64_t k = 0; k < taps.count; k += kRows) {
        const char* rows[kRows];
        float weights[kRows];
        for (int i = 0; i < kRows; ++i) {
            const bool inside = k + i < taps.count;
            weights[i] = inside ? taps.weights[k + i] : 0;
            rows[i] = inside ? at(taps.first + k + i, places[i]) : rows[0];
        }
        add_rows<S>(rows, weights, n, sums);
    }
}

/* Where three channels of a row's chunk lie without gaps; red and blue may be swapped. */
template <typename S>
void add_image_rows(const hz_image& image, const Taps& taps, int64_t first, int n, float* sums) {
    constexpr int size = sizeof(S);
    S places[kRows][3 * kChunk];
    const char* corner = static_cast<const char*>(image.data) + first * image.pixel_stride;
    if (image.pixel_stride == 3 * size &&
        (image.channel_stride == size || image.channel_stride == -size)) {
        if (image.channel_stride < 0) corner -= 2 * size;
        return add_window<S>(taps, 3 * n, places, sums,
                             [&](int64_t row, S*) { return corner + row * image.row_stride; });
    }
    add_window<S>(taps, 3 * n, places, sums, [&](int64_t row, S* place) {
        const char* pixels = corner + row * image.row_stride;
        with_layout<S>(image.pixel_stride, image.channel_stride, [&](auto ps, auto cs) {
            for (int i = 0; i < n; ++i)
                for (int c = 0; c < 3; ++c)
                    place[3 * i + c] = load<S>(pixels + i * int64_t(ps) + c * int64_t(cs));
        });
        return reinterpret_cast<const char*>(place);
    });
}

template <typename C>
void add_mask_rows(const hz_mask& mask, const Taps& taps, int64_t first, int n, float* sums) {
    typedef typename C::Stored S;
    S places[kRows][3 * kChunk];
    const char* corner = static_cast<const char*>(mask.data) + first * mask.pixel_stride;
    const bool gapless = mask.pixel_stride == int64_t(sizeof(S)) && mask.type != HZ_BOOL;
    add_window<S>(taps, n, places, sums, [&](int64_t row, S* place) {
        const char* values = corner + row * mask.row_stride;
        if (gapless) return values;
        for (int i = 0; i < n; ++i) place[i] = C::read(values + i * mask.pixel_stride);
        return reinterpret_cast<const char*>(place);
    });
}

/* Add pixels [first, first + n) to the results whose windows they touch; `begin` is the first of
   these, and moves on. */
void add_columns(const Taps* columns, int64_t first, int n, const Quad* pixels, int& begin,
                 Quad* results) {
    const int64_t end = first + n;
    for (int i = begin; i < kSize && columns[i].first < end; ++i) {
        const Taps& taps = columns[i];
        const int64_t after = taps.first + taps.count;
        if (after <= first) {
            begin = i + 1;
            continue;
        }
        const int64_t from = taps.first > first ? taps.first : first;
        const int count = int((after < end ? after : end) - from);
        const float* weights = taps.weights + (from - taps.first);
        const Quad* values = pixels + (from - first);
        /* Two sums, so that an addition does not wait for the one before. */
        Quad even = {}, odd = {};
        int k = 0;
        for (; k + 2 <= count; k += 2) {
            even += weights[k] * values[k];
            odd += weights[k + 1] * values[k + 1];
        }
        if (k < count) even += weights[k] * values[k];
        results[i] += even + odd;
    }
}

template <typename S, typename C>
void draw_row(const RegionJob& job, int row) {
    alignas(64) float colours[3 * kChunk + 1] = {}; /* one more: pixels are read four by four */
    alignas(64) float coverage[kChunk];
    alignas(64) Quad pixels[kChunk];
    Quad results[kSize] = {};
    int begin = 0;
    for (int64_t first = 0; first < job.image.width; first += kChunk) {
        const int64_t left = job.image.width - first;
        const int n = int(left < kChunk ? left : kChunk);
        add_image_rows<S>(job.image, job.rows[row], first, n, colours);
        add_mask_rows<C>(job.mask, job.rows[row], first, n, coverage);
        for (int i = 0; i < n; ++i) {
            memcpy(&pixels[i], colours + 3 * i, sizeof pixels[i]);
            pixels[i][3] = coverage[i];
        }
        add_columns(job.columns, first, n, pixels, begin, results);
    }
    /* As add_image_rows left them. */
    const bool swapped =
        job.image.pixel_stride == 3 * int(sizeof(S)) && job.image.channel_stride == -int(sizeof(S));
    for (int i = 0; i < kSize; ++i) {
        const float covered = clipped_unit(results[i][3] * (1 / C::full));
        const float share = job.outside ? 1 - covered : covered;
        for (int c = 0; c < 3; ++c) {
            const float value = results[i][swapped ? 2 - c : c] * (1.0f / Full<S>::value);
            job.out[(c * kSize + row) * kSize + i] = clipped_unit(value) * share;
        }
    }
}

void draw_region_row(const RegionJob& job, int row) {
    with_mask_type(job.mask.type, [&](auto coverage) {
        typedef decltype(coverage) C;
        switch (job.image.type) {
            case HZ_U8:
                return draw_row<uint8_t, C>(job, row);
            case HZ_U16:
                return draw_row<uint16_t, C>(job, row);
            default:
                return draw_row<float, C>(job, row);
        }
    });
}

}  // namespace HZ_NAMESPACE
