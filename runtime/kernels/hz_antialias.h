/* Which source values a result of an antialiased bilinear resize is made of, and their weights:
   one source for g++ and the CUDA compiler.

   The weight of a source pixel falls in a straight line from the result's centre to 0 at the
   larger of one source pixel and one result pixel, and the weights of a result add up to 1: what
   PyTorch calls interpolate(mode="bilinear", antialias=True, align_corners=False).

   Counted in 1/(2 * size) of a source pixel, all centres and distances are integers: exact for any
   size, where a position in float is good to 1e-4 of a pixel. */
#ifndef HZ_ANTIALIAS_H
#define HZ_ANTIALIAS_H

#include "hz_float.h"

namespace HZ_NAMESPACE {

/* The source values [first, first + count) of one result. */
struct Window {
    long long first, count;
    long long start; /* signed distance of the first one from the result's centre */
    long long step;  /* from one to the next */
    long long reach; /* distance at which weights are 0 */
    float unit;      /* reciprocal of the sum of all `reach - |distance|` */

    HZ_FN float weight(long long index) const {
        const long long distance = start + index * step;
        return float(reach - (distance < 0 ? -distance : distance)) * unit;
    }
};

/* The window of result `index` of `size`, from `source` values (1 to 2^32). */
HZ_FN Window window_at(long long index, long long source, long long size) {
    Window window;
    window.step = 2 * size;
    window.reach = 2 * (source > size ? source : size);
    const long long centre = (2 * index + 1) * source;
    /* Value x lies at x * step + size. */
    const long long low = centre - window.reach - size, high = centre + window.reach - size;
    const long long end = (high + window.step - 1) / window.step;
    window.first = low < 0 ? 0 : low / window.step + 1;
    window.count = (end < source ? end : source) - window.first;
    window.start = window.first * window.step + size - centre;
    /* Two arithmetic series: the distances before the centre, and those after it. */
    const long long count = window.count, step = window.step, start = window.start;
    long long before = start < 0 ? (-start + step - 1) / step : 0;
    if (before > count) before = count;
    const long long pairs = count * (count - 1) / 2, pairs_before = before * (before - 1) / 2;
    const long long distances = (count - 2 * before) * start + step * (pairs - 2 * pairs_before);
    window.unit = 1.0f / float(count * window.reach - distances);
    return window;
}

/* Clipped, since the sum of rounded weights may pass 1; NaN gives 0. */
HZ_FN float clipped_unit(float value) {
    return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
}

}  // namespace HZ_NAMESPACE

#endif
