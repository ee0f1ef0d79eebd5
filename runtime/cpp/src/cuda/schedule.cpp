/* Which kernels draw a frame, with which grids and parameters: see harmonizer_cuda.h. */
#include <algorithm>
#include <cstddef>

#include "api/checks.h"
#include "api/errors.h"
#include "cuda/frame.h"
#include "cuda/launches.h"
#include "cuda/surface.h"
#include "harmonizer_cuda.h"
#include "hz_workspace.h"

namespace hz_cuda {
namespace {

using hz_api::Invalid;

static_assert(sizeof(Report) == sizeof(hz_report));
static_assert(sizeof(ReportStep) == sizeof(hz_step));
static_assert(offsetof(Report, steps) == offsetof(hz_program, steps));
static_assert(offsetof(ReportStep, argument) == offsetof(hz_step, argument));
static_assert(offsetof(ReportStep, statistics) == offsetof(hz_step, statistics));
static_assert(sizeof(ReportCurves) == sizeof(hz_curves));
static_assert(offsetof(Report, curves) == offsetof(hz_program, curves));
static_assert(offsetof(Report, seen) == offsetof(hz_report, seen));
static_assert(offsetof(Report, in_double) == offsetof(hz_report, in_double));
static_assert(offsetof(Workspace, report) == 0);
static_assert(kU8 == HZ_U8 && kU16 == HZ_U16 && kF32 == HZ_F32 && kBool == HZ_BOOL &&
              kF16 == HZ_F16);
static_assert(kSeenForeground == HZ_SEEN_FOREGROUND && kSeenThumbnail == HZ_SEEN_THUMBNAIL &&
              kSeenBackground == HZ_SEEN_BACKGROUND && kSeenNotFinite == HZ_SEEN_NOT_FINITE);

/* Blocks for each multiprocessor: as many as run at once, so that each loads its tables once. */
constexpr int64_t kMeasureBlocks = 2, kBoxBlocks = 4, kDrawBlocks = 4, kStripsOfMeasuringWarp = 2;
constexpr int32_t kUnknownProcessors = 132, kMostProcessors = 1024;

constexpr const char* kMeasureKernels[] = {"hz_measure_u8", "hz_measure_u16", "hz_measure_f32"};
constexpr const char* kRegionKernels[] = {"hz_regions_u8", "hz_regions_u16", "hz_regions_f32"};
constexpr const char* kReduceKernels[] = {"hz_reduce_u8", "hz_reduce_u16", "hz_reduce_f32"};
constexpr const char* kDrawKernels[] = {"hz_draw_u8", "hz_draw_u16", "hz_draw_f32"};
/* Of pixels of 3 and 4 bytes, red first and blue first. */
constexpr const char* kPackedKernels[][2] = {{"hz_draw_rgb8", "hz_draw_bgr8"},
                                             {"hz_draw_rgba8", "hz_draw_bgra8"}};
/* Of 8 bits, and of more. */
constexpr const char* kSurfaceMeasureKernels[] = {"hz_measure_nv12", "hz_measure_p010"};
constexpr const char* kSurfaceReduceKernels[] = {"hz_reduce_nv12", "hz_reduce_p010"};
constexpr const char* kSurfaceDrawKernels[] = {"hz_draw_nv12", "hz_draw_p010"};

/* A frame and what follows from it alone; of a surface, `frame.image` has the size. */
struct FrameTask {
    hz_frame frame;
    Workspace* workspace;
    bool masked;
    bool watched; /* the mask's emptiness decides about the arguments */
    bool thumbnail, regions;
    bool from_histogram; /* some statistics are taken from the histogram */
    double pixels;
};

Image image_of(const hz_image& image) {
    return {static_cast<u8*>(image.data), image.row_stride, image.pixel_stride,
            image.channel_stride};
}

Mask mask_of(const FrameTask& task) {
    if (!task.masked) return {};
    const hz_mask& mask = task.frame.mask;
    return {static_cast<const u8*>(mask.data), mask.row_stride, mask.pixel_stride, mask.type, 0};
}

/* How many bytes each pixel has, 3 or 4, the first three of which are R, G, B or B, G, R. Those of
   4 begin at multiples of 4. 0 for other layouts, which only the general kernels know. */
int packed_bytes(const hz_image& image) {
    const bool reversed = image.channel_stride == -1;
    if (image.type != HZ_U8 || (image.channel_stride != 1 && !reversed)) return 0;
    if (image.pixel_stride == 3) return 3;
    const uintptr_t first = reinterpret_cast<uintptr_t>(image.data) - (reversed ? 2 : 0);
    const bool aligned = first % 4 == 0 && (image.height == 1 || image.row_stride % 4 == 0);
    return image.pixel_stride == 4 && aligned ? 4 : 0;
}

/* Of each of the image's pixels, where it has such bytes. */
bool is_fourth_byte(const hz_mask& mask, const hz_image& image) {
    const char* const red = static_cast<const char*>(image.data);
    return packed_bytes(image) == 4 && mask.pixel_stride == 4 &&
           mask.row_stride == image.row_stride &&
           mask.data == red + (image.channel_stride > 0 ? 3 : 1);
}

/* Whether row follows row at the distance of pixels, so that they may count as one row. */
bool has_joined_rows(int64_t width, int64_t height, int64_t row_stride, int64_t pixel_stride) {
    return height == 1 || row_stride == width * pixel_stride;
}

bool has_joined_rows(const hz_image& image) {
    return has_joined_rows(image.width, image.height, image.row_stride, image.pixel_stride);
}

bool has_joined_rows(const hz_mask& mask) {
    return has_joined_rows(mask.width, mask.height, mask.row_stride, mask.pixel_stride);
}

Strips make_strips(int64_t width, int64_t height, bool joined) {
    Strips strips = {};
    strips.columns = joined ? width * height : width;
    strips.rows = joined ? 1 : static_cast<u32>(height);
    strips.per_row = static_cast<u32>((strips.columns + kStrip - 1) / kStrip);
    strips.count = strips.rows * strips.per_row;
    return strips;
}

int64_t divided(int64_t value, int64_t by) { return (value + by - 1) / by; }

int64_t resident_blocks(const hz_frame& frame, int64_t of_processor) {
    const int32_t known = frame.processors > 0 ? frame.processors : kUnknownProcessors;
    return of_processor * std::min(known, kMostProcessors);
}

FrameTask make_task(hz_frame frame) {
    if (frame.surface) frame.image = picture_of(*frame.surface);
    const bool masked = frame.mask.data != nullptr, thumbnail = frame.composite != nullptr,
               regions = frame.foreground != nullptr;
    return {frame,
            static_cast<Workspace*>(frame.workspace),
            masked,
            masked && (thumbnail || regions || frame.arguments),
            thumbnail,
            regions,
            reads_histogram(frame),
            static_cast<double>(frame.image.width) * static_cast<double>(frame.image.height)};
}

void add_measure(const FrameTask& task, Launches& launches) {
    const hz_frame& frame = task.frame;
    if (!task.from_histogram && !task.thumbnail && !task.watched) return;
    MeasureParameters p = {};
    p.image = image_of(frame.image);
    p.mask = mask_of(task);
    p.width = frame.image.width;
    p.height = frame.image.height;
    p.workspace = task.workspace;
    p.composite = frame.composite;
    p.coverage = frame.coverage;
    p.thumbnail_type = frame.thumbnail_type;
    p.counted = task.from_histogram;
    p.packed = packed_bytes(frame.image);
    p.strips = make_strips(p.width, p.height, p.packed && has_joined_rows(frame.image));
    int64_t work = p.counted ? p.strips.count : 0;
    if (task.watched) {
        p.watched = 1;
        p.gapless = frame.mask.pixel_stride == hz_api::element_size(frame.mask.type);
        p.mask_strips = make_strips(p.width, p.height, has_joined_rows(frame.mask));
        work = std::max<int64_t>(work, p.mask_strips.count);
    }
    if (task.thumbnail) work = std::max<int64_t>(work, kThumbnail * kThumbnail / 32 / 4);
    constexpr int64_t kWarps = kMeasureThreads / 32;
    int64_t blocks = std::min(divided(work, kWarps * kStripsOfMeasuringWarp),
                              resident_blocks(frame, kMeasureBlocks));
    if (p.counted) blocks = std::max(blocks, divided(p.strips.count, kMostStripsOfBlock));
    blocks = std::max<int64_t>(blocks, 1);
    if (!frame.surface)
        return launches.add(kMeasureKernels[frame.image.type], blocks, kMeasureThreads, p);
    const hz_surface& surface = *frame.surface;
    launches.add(kSurfaceMeasureKernels[is_deep(surface)], blocks, kMeasureThreads,
                 SurfaceMeasureParameters{p, planes_of(surface), coding_of<float>(surface),
                                          shift_of(surface)});
}

/* After MEASURE, whose word of what is seen they correct. */
void add_regions(const FrameTask& task, Launches& launches) {
    const hz_frame& frame = task.frame;
    if (!task.regions) return;
    RegionParameters p = {};
    p.image = image_of(frame.image);
    p.mask = mask_of(task);
    p.width = frame.image.width;
    p.height = frame.image.height;
    p.strips = make_strips(p.width, p.height, false);
    p.workspace = task.workspace;
    p.foreground = frame.foreground;
    p.background = frame.background;
    p.thumbnail_type = frame.thumbnail_type;
    const int64_t blocks =
        std::min(divided(p.strips.count, kBoxThreads / 32), resident_blocks(frame, kBoxBlocks));
    launches.add("hz_region_box", blocks, kBoxThreads, p);
    launches.add(kRegionKernels[frame.image.type], 2 * kThumbnail, kRegionThreads, p);
}

void add_reduce(const FrameTask& task, int step, Launches& launches) {
    ReduceParameters p = {};
    p.image = image_of(task.frame.image);
    p.strips = make_strips(task.frame.image.width, task.frame.image.height,
                           !task.frame.surface && has_joined_rows(task.frame.image));
    p.workspace = task.workspace;
    p.pixels = task.pixels;
    p.step = step;
    const int64_t blocks =
        std::min<int64_t>(divided(p.strips.count, kReduceThreads / 32), kReduceBlocks);
    if (!task.frame.surface)
        return launches.add(kReduceKernels[task.frame.image.type], blocks, kReduceThreads, p);
    const hz_surface& surface = *task.frame.surface;
    launches.add(kSurfaceReduceKernels[is_deep(surface)], blocks, kReduceThreads,
                 SurfaceReduceParameters{p, planes_of(surface), coding_of<float>(surface),
                                         coding_of<double>(surface), shift_of(surface), 0});
}

void add_preparing(const FrameTask& task, Launches& launches) {
    const hz_frame& frame = task.frame;
    PrepareParameters p = {};
    p.workspace = task.workspace;
    p.arguments = frame.arguments;
    p.strength = frame.strength;
    p.pixels = task.pixels;
    p.count = frame.count;
    std::copy(frame.operations, frame.operations + frame.count, p.operations);
    p.stages = frame.stages;
    while (p.stages && p.operations[p.curve] != HZ_OP_PIECEWISE_CURVE) ++p.curve;
    p.bytes = frame.image.type == HZ_U8;
    p.from_histogram = task.from_histogram;
    p.statistics_given = frame.statistics_given != 0;
    p.watched = task.watched;
    p.begins = 1;
    for (int i = 0; i < frame.count && !p.statistics_given; ++i) {
        if (!measures(frame.operations[i]) || is_in_histogram(frame, i)) continue;
        if (p.begins) launches.add("hz_prepare", 1, kPrepareThreads, p);
        p.begins = 0;
        add_reduce(task, i, launches);
    }
    p.finishes = 1;
    launches.add("hz_prepare", 1, kPrepareThreads, p);
}

/* The kernels for packed bytes read and write aligned 16 bytes at the same pixel. */
bool is_aligned_alike(const hz_image& image, const hz_image& out) {
    const auto distance = static_cast<char*>(image.data) - static_cast<char*>(out.data);
    return packed_bytes(image) && out.pixel_stride == image.pixel_stride &&
           out.channel_stride == image.channel_stride && distance % 16 == 0 &&
           (image.height == 1 || (image.row_stride - out.row_stride) % 16 == 0);
}

void add_surface_draw(const FrameTask& task, Launches& launches) {
    const hz_surface &surface = *task.frame.surface, &out = *task.frame.surface_out;
    SurfaceDrawParameters p = {};
    p.image = planes_of(surface);
    p.out = planes_of(out);
    p.mask = mask_of(task);
    p.workspace = task.workspace;
    p.width = surface.width;
    p.height = surface.height;
    p.strips_of_row = static_cast<u32>(divided(divided(surface.width, 2), kBlocksOfStrip));
    p.strips = p.strips_of_row * static_cast<u32>(divided(surface.height, 2));
    p.coding = coding_of<float>(surface);
    p.exact_coding = coding_of<double>(surface);
    p.shift = shift_of(surface);
    p.in_place = is_same(surface, out);
    const int64_t blocks =
        std::min(divided(p.strips, kDrawThreads / 32), resident_blocks(task.frame, kDrawBlocks));
    launches.add(kSurfaceDrawKernels[is_deep(surface)], blocks, kDrawThreads, p);
}

void add_draw(const FrameTask& task, Launches& launches) {
    if (task.frame.surface) return add_surface_draw(task, launches);
    const hz_frame& frame = task.frame;
    DrawParameters p = {};
    p.image = image_of(frame.image);
    p.out = image_of(frame.out);
    p.mask = mask_of(task);
    p.workspace = task.workspace;
    p.in_place = hz_api::same_memory(frame.image, frame.out);
    const bool joined = has_joined_rows(frame.image) && has_joined_rows(frame.out) &&
                        (!task.masked || has_joined_rows(frame.mask));
    p.strips = make_strips(frame.image.width, frame.image.height, joined);
    const char* kernel = kDrawKernels[frame.image.type];
    if (is_aligned_alike(frame.image, frame.out) && !bends_pixels(frame))
        kernel = kPackedKernels[frame.image.pixel_stride - 3][frame.image.channel_stride < 0];
    p.mask_within = task.masked && is_fourth_byte(frame.mask, frame.image);
    const int64_t blocks =
        std::min(divided(p.strips.count, kDrawThreads / 32), resident_blocks(frame, kDrawBlocks));
    launches.add(kernel, blocks, kDrawThreads, p);
}

}  // namespace
}  // namespace hz_cuda

using namespace hz_cuda;

size_t hz_workspace_size(void) { return sizeof(Workspace); }

int32_t hz_cuda_schedule(const hz_frame* frame, int32_t phase, hz_launch* launches,
                         int32_t capacity, int32_t* count) {
    return hz_api::guarded([&] {
        if (!launches || !count) throw Invalid("launches and count must not be null.");
        *count = 0;
        check_frame(frame, phase);
        const FrameTask task = make_task(*frame);
        Launches list(launches, capacity);
        if (phase & HZ_PHASE_MEASURE) add_measure(task, list);
        if (phase & HZ_PHASE_MEASURE) add_regions(task, list);
        if (phase & (HZ_PHASE_DRAW | HZ_PHASE_PREPARE)) add_preparing(task, list);
        if (phase & HZ_PHASE_DRAW) add_draw(task, list);
        *count = list.count();
    });
}
