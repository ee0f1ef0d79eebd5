/* The C interface as an application in C99 uses it.

   consume_c draw IN OUT WIDTH HEIGHT   both ways give the same; raw rgb24, three quarters masked
   consume_c errors                     every status that a CPU can give
   consume_c memory                     HZ_OUT_OF_MEMORY
   consume_c create BACKEND [KERNELS]   the status and message of hz_renderer_create */
#define _XOPEN_SOURCE 700
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/resource.h>
#endif

#include "harmonizer.h"

static int failures = 0;

static void expect(int32_t wanted, int32_t got, const char* part, const char* call) {
    if (got == wanted && (wanted == HZ_OK || strstr(hz_last_error(), part))) return;
    printf("%s: expected %d \"%s\", got %d \"%s\"\n", call, (int)wanted, part, (int)got,
           hz_last_error());
    ++failures;
}
#define EXPECT(wanted, part, call) expect(wanted, call, part, #call)

static hz_image image_of(unsigned char* data, int64_t width, int64_t height) {
    hz_image image = {0};
    image.data = data;
    image.width = width;
    image.height = height;
    image.row_stride = 3 * width;
    image.pixel_stride = 3;
    image.channel_stride = 1;
    image.type = HZ_U8;
    return image;
}

static hz_mask mask_of(const unsigned char* data, int64_t width, int64_t height) {
    hz_mask mask = {0};
    mask.data = data;
    mask.width = width;
    mask.height = height;
    mask.row_stride = width;
    mask.pixel_stride = 1;
    mask.type = HZ_U8;
    return mask;
}

static hz_program look(void) {
    hz_program program = {0};
    program.count = 3;
    program.steps[0].operation = HZ_OP_TEMPERATURE;
    program.steps[0].argument = 0.21;
    program.steps[1].operation = HZ_OP_CONTRAST;
    program.steps[1].argument = -0.3;
    program.steps[2].operation = HZ_OP_SHADOW;
    program.steps[2].argument = 0.4;
    return program;
}

static int draw(char** words) {
    const int64_t width = atol(words[4]), height = atol(words[5]);
    const size_t pixels = (size_t)(width * height);
    unsigned char* data = malloc(3 * pixels);
    unsigned char* other = malloc(3 * pixels);
    unsigned char* coverage = malloc(pixels);
    FILE* file = fopen(words[2], "rb");
    if (!file || fread(data, 1, 3 * pixels, file) != 3 * pixels) return 1;
    fclose(file);
    memset(coverage, 255, pixels);
    memset(coverage, 0, pixels / 4);
    hz_image image = image_of(data, width, height), out = image_of(other, width, height);
    hz_mask mask = mask_of(coverage, width, height);

    hz_program program = look();
    hz_renderer* renderer = NULL;
    EXPECT(HZ_OK, "", hz_renderer_create("cpu", NULL, &renderer));
    EXPECT(HZ_OK, "", hz_renderer_measure(renderer, &image, &program));
    EXPECT(HZ_OK, "", hz_renderer_render(renderer, &image, &mask, &program, &out));
    hz_program drawn = look();
    EXPECT(HZ_OK, "", hz_renderer_harmonize(renderer, NULL, &image, &mask, 1.0, &image, &drawn));
    if (memcmp(data, other, 3 * pixels) || memcmp(&program, &drawn, sizeof program)) {
        puts("measure + render and harmonize differ");
        ++failures;
    }
    hz_renderer_destroy(renderer);
    file = fopen(words[3], "wb");
    if (!file || fwrite(data, 1, 3 * pixels, file) != 3 * pixels || fclose(file)) return 1;
    free(data);
    free(other);
    free(coverage);
    return failures;
}

static int32_t refuse(void* user, const float* composite, const float* coverage, float* arguments,
                      void* stream) {
    (void)composite, (void)coverage, (void)stream;
    arguments[0] = *(const float*)user;
    return *(const float*)user == 7;
}

static int errors(void) {
    static unsigned char data[30 * 20 * 3], coverage[30 * 20];
    static const int64_t overlaps[][3] = {{0, 3, 1},  {89, 3, 1}, {-89, 3, 1}, {30, 3, 1},
                                          {90, 0, 1}, {90, 2, 1}, {90, 3, 0},  {0, 0, 0}};
    static const char* const named[] = {
        "row_stride of 0 ",  "row_stride of 89 ", "row_stride of -89", "row_stride of 30",
        "pixel_stride of 0", "pixel_stride of 2", "channel_stride of", "must have memory of"};
    static const size_t sizes[] = {1, 4, 24, sizeof(hz_renderer_options) - 4,
                                   sizeof(hz_renderer_options) + 8};
    const int32_t operations[] = {HZ_OP_TEMPERATURE, HZ_OP_COUNT};
    const int32_t curve[] = {HZ_OP_PIECEWISE_CURVE};
    memset(coverage, 255, sizeof coverage);
    hz_image image = image_of(data, 30, 20), bad = image;
    hz_mask mask = mask_of(coverage, 30, 20), wrong = mask;
    hz_program program = look(), broken = look();
    hz_renderer *renderer = NULL, *other = NULL;
    hz_predictor* predictor = NULL;
    hz_renderer_options options = {0};
    hz_engine_options engine = {0};
    float answer = 7, thumbnail[4];

    EXPECT(HZ_INVALID, "`backend` must be", hz_renderer_create("gpu", NULL, &renderer));
    EXPECT(HZ_INVALID, "`backend` must be", hz_renderer_create(NULL, NULL, &renderer));
    EXPECT(HZ_INVALID, "where the handle goes", hz_renderer_create("cpu", NULL, NULL));
    EXPECT(HZ_INVALID, "size", hz_renderer_create("cpu", &options, &renderer));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        options.size = sizes[i];
        EXPECT(HZ_INVALID, "size", hz_renderer_create("cpu", &options, &renderer));
    }
    options.size = sizeof options;
    options.threads = 2;
    EXPECT(HZ_OK, "", hz_renderer_create("cpu", &options, &renderer));
    EXPECT(HZ_OK, "", hz_renderer_create("cpu", NULL, &other));
    if (strncmp(hz_renderer_name(renderer), "cpu ", 4)) ++failures;

    EXPECT(HZ_INVALID, "`renderer` must be a handle", hz_renderer_measure(NULL, &image, &program));
    EXPECT(HZ_INVALID, "image must not be null", hz_renderer_measure(renderer, NULL, &program));
    EXPECT(HZ_INVALID, "program must not", hz_renderer_measure(renderer, &image, NULL));
    broken.count = HZ_MAX_STEPS + 1;
    EXPECT(HZ_INVALID, "steps", hz_renderer_render(renderer, &image, NULL, &broken, &image));
    broken = look();
    broken.steps[1].operation = HZ_OP_COUNT;
    EXPECT(HZ_INVALID, "operation", hz_renderer_render(renderer, &image, NULL, &broken, &image));
    broken = look();
    broken.steps[1].argument = NAN;
    EXPECT(HZ_INVALID, "finite", hz_renderer_render(renderer, &image, NULL, &broken, &image));
    broken = look();
    broken.steps[0].operation = broken.steps[2].operation = HZ_OP_PIECEWISE_CURVE;
    broken.curves.stages = 1;
    EXPECT(HZ_INVALID, "once at most; step 2", hz_measure(&image, &broken, 0));
    EXPECT(HZ_INVALID, "once at most; step 2",
           hz_renderer_harmonize(renderer, NULL, &image, NULL, 1, &image, &broken));
    for (size_t i = 0; i < sizeof overlaps / sizeof *overlaps; ++i) {
        static unsigned char target[30 * 20 * 3];
        bad = image;
        bad.data = i == 2 ? target + 30 * 19 * 3 : target;
        bad.row_stride = overlaps[i][0];
        bad.pixel_stride = overlaps[i][1];
        bad.channel_stride = overlaps[i][2];
        EXPECT(HZ_INVALID, named[i], hz_render(&image, NULL, &program, &bad, 0));
        EXPECT(HZ_INVALID, named[i],
               hz_renderer_harmonize(renderer, NULL, &bad, NULL, 1, &bad, &program));
        if (i != 2) EXPECT(HZ_OK, "", hz_render(&bad, NULL, &program, &image, 0));
    }
    bad = image;
    bad.type = HZ_BOOL;
    EXPECT(HZ_INVALID, "type", hz_renderer_measure(renderer, &bad, &program));
    bad = image;
    bad.width = 29;
    EXPECT(HZ_INVALID, "out must have", hz_renderer_render(renderer, &image, NULL, &program, &bad));
    wrong.height = 19;
    EXPECT(HZ_INVALID, "mask must have",
           hz_renderer_render(renderer, &image, &wrong, &program, &image));
    EXPECT(HZ_INVALID, "must not be null",
           hz_renderer_thumbnail(renderer, &image, &mask, thumbnail, NULL));
    EXPECT(HZ_INVALID, "mask must not be null",
           hz_renderer_region_thumbnails(renderer, &image, NULL, thumbnail, thumbnail));
    EXPECT(HZ_INVALID, "foreground and background must",
           hz_renderer_region_thumbnails(renderer, &image, &mask, NULL, thumbnail));
    EXPECT(HZ_INVALID, "`strength` must lie",
           hz_renderer_harmonize(renderer, NULL, &image, &mask, 1.6, &image, &program));
    EXPECT(HZ_INVALID, "`strength` must lie",
           hz_renderer_harmonize(renderer, NULL, &image, &mask, NAN, &image, &program));
    EXPECT(HZ_INVALID, "program must not",
           hz_renderer_harmonize(renderer, NULL, &image, &mask, 1, &image, NULL));
    EXPECT(HZ_INVALID, "must be a CUDA renderer",
           hz_renderer_enqueue(renderer, NULL, &image, &mask, 1, &image, &program));
    EXPECT(HZ_INVALID, "`frame` must not", hz_renderer_enqueue_frame(renderer, NULL, 1));
    EXPECT(HZ_INVALID, "must be a CUDA renderer", hz_renderer_synchronize(renderer, NULL));

    EXPECT(HZ_INVALID, "must be a function",
           hz_predictor_create(renderer, NULL, NULL, operations, 1, &predictor));
    EXPECT(HZ_INVALID, "codes from 0",
           hz_predictor_create(renderer, refuse, &answer, operations, 2, &predictor));
    EXPECT(HZ_INVALID, "`count` must be",
           hz_predictor_create(renderer, refuse, &answer, operations, 9, &predictor));
    EXPECT(HZ_INVALID, "must take one number each",
           hz_predictor_create(renderer, refuse, &answer, curve, 1, &predictor));
    EXPECT(HZ_INVALID, "must be a CUDA renderer",
           hz_predictor_load_engine(renderer, "model.engine", NULL, &predictor));
    engine.size = 4;
    EXPECT(HZ_INVALID, "hz_engine_options.size",
           hz_predictor_load_engine(renderer, "model.engine", &engine, &predictor));
    EXPECT(HZ_OK, "", hz_predictor_create(renderer, refuse, &answer, operations, 1, &predictor));
    if (hz_predictor_count(predictor) != 1) ++failures;
    EXPECT(HZ_INVALID, "belong to this renderer",
           hz_renderer_harmonize(other, predictor, &image, &mask, 1, &image, NULL));
    EXPECT(HZ_INVALID, "`mask` must be given",
           hz_renderer_harmonize(renderer, predictor, &image, NULL, 1, &image, NULL));
    EXPECT(HZ_MODEL, "must return 0",
           hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, NULL));
    answer = NAN;
    EXPECT(HZ_MODEL, "finite",
           hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, NULL));
    answer = 0.5f;
    EXPECT(HZ_OK, "",
           hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, &program));
    if (program.count != 1 || program.steps[0].argument != 0.5) ++failures;
    memset(coverage, 0, sizeof coverage);
    EXPECT(HZ_OK, "",
           hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, &program));
    if (program.count != 1 || program.steps[0].argument != 0) ++failures;

    hz_predictor_destroy(predictor);
    hz_predictor_destroy(NULL);
    hz_renderer_destroy(renderer);
    hz_renderer_destroy(other);
    hz_renderer_destroy(NULL);
    return failures;
}

#ifdef _WIN32
static int memory(void) { return 2; } /* without RLIMIT_AS */
#else
static int memory(void) {
    static unsigned char data[30 * 20 * 3], coverage[30 * 20];
    const int32_t operations[] = {HZ_OP_TEMPERATURE};
    struct rlimit limit;
    float answer = 0;
    hz_image image = image_of(data, 30, 20);
    hz_mask mask = mask_of(coverage, 30, 20);
    hz_renderer* renderer = NULL;
    hz_predictor* predictor = NULL;
    EXPECT(HZ_OK, "", hz_renderer_create("cpu", NULL, &renderer));
    EXPECT(HZ_OK, "", hz_predictor_create(renderer, refuse, &answer, operations, 1, &predictor));
    getrlimit(RLIMIT_AS, &limit);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_AS, &limit);
    EXPECT(HZ_OUT_OF_MEMORY, "memory",
           hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, NULL));
    limit.rlim_cur = before;
    setrlimit(RLIMIT_AS, &limit);
    EXPECT(HZ_OK, "", hz_renderer_harmonize(renderer, predictor, &image, &mask, 1, &image, NULL));
    hz_predictor_destroy(predictor);
    hz_renderer_destroy(renderer);
    return failures;
}
#endif

static int create(const char* backend, const char* kernels) {
    hz_renderer_options options = {0};
    hz_renderer* renderer = NULL;
    options.size = sizeof options;
    options.kernels = kernels;
    const int32_t status = hz_renderer_create(backend, &options, &renderer);
    printf("%d %s\n", (int)status, status == HZ_OK ? hz_renderer_name(renderer) : hz_last_error());
    hz_renderer_destroy(renderer);
    return 0;
}

int main(int count, char** words) {
    const char* wanted = count > 1 ? words[1] : "";
    if (!strcmp(wanted, "draw") && count == 6) return draw(words);
    if (!strcmp(wanted, "errors")) return errors();
    if (!strcmp(wanted, "memory")) return memory();
    if (!strcmp(wanted, "create") && count > 2)
        return create(words[2], count > 3 ? words[3] : NULL);
    return 2;
}
