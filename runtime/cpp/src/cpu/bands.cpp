/* How the rows of a picture are shared out among threads. */
#include <algorithm>

#include "api/system.h"
#include "cpu/threads.h"

namespace hz_cpu {
namespace {

/* Below this a thread's start costs more than it saves. */
constexpr int64_t kPixelsWorthAThread = 1 << 15;
constexpr int kMostThreads = 256;

}  // namespace

Bands make_bands(int64_t width, int64_t height, int64_t pixels_per_band, int most_bands,
                 int threads) {
    Bands bands;
    bands.rows = height;
    const int64_t wished = (pixels_per_band + width - 1) / width;
    const int64_t least = (height + most_bands - 1) / most_bands;
    bands.rows_per_band = std::max<int64_t>({1, wished, least});
    bands.count = static_cast<int>((height + bands.rows_per_band - 1) / bands.rows_per_band);
    const int64_t wanted = threads > 0 ? threads : hz_api::available_processors();
    const int64_t useful =
        width >= kPixelsWorthAThread ? height : width * height / kPixelsWorthAThread;
    bands.threads = static_cast<int>(std::max<int64_t>(
        1, std::min<int64_t>({wanted, useful, int64_t{bands.count}, int64_t{kMostThreads}})));
    return bands;
}

}  // namespace hz_cpu
