/* 6. Judge stereo and merge: every pixel is decided by depthd_merge_pixel(). */
#include "fusion_internal.h"

typedef struct Merging {
    const DepthdFusion *f;
    bool fitted;
    DepthdMergeParameters parameters;
    const float *stereo_m;
    float *depth_m;
    uint8_t *source;
    uint16_t *sigma;
} Merging;

/* What a row of pixels is made from. Values between two rows are interpolated: lower + (upper - lower) * part. */
typedef struct Between {
    const float *lower, *upper;
    float part;
} Between;

typedef struct Row {
    const float *stereo_m, *sigma, *rim_share, *near_claim, *far_claim, *blur;
    Between x, correction;
} Row;

enum { BLOCK = 256, BYTES = 32 };
typedef uint8_t Bytes __attribute__((vector_size(BYTES), aligned(1), may_alias));

/* Some pixels of a row before they are packed. Four bytes per value, so that a vector register holds as many of each. */
typedef struct Block {
    int32_t source[BLOCK];
    float sigma[BLOCK];
} Block;

static inline __attribute__((always_inline)) void merge_block(const Row *row, int first, int count,
                                                              const DepthdMergeParameters *parameters,
                                                              float *restrict depth_m, Block *restrict block)
{
    const DepthdMergeParameters p = *parameters;
    const float *restrict stereo_m = row->stereo_m + first, *restrict mono_sigma = row->sigma + first,
                          *restrict rim_share = row->rim_share + first, *restrict near_claim = row->near_claim + first,
                          *restrict far_claim = row->far_claim + first, *restrict blur = row->blur + first;
    const float *restrict x_lower = row->x.lower + first, *restrict x_upper = row->x.upper + first;
    const float *restrict c_lower = row->correction.lower + first, *restrict c_upper = row->correction.upper + first;
    const float x_part = row->x.part, c_part = row->correction.part;
    for (int i = 0; i < count; i++) {
        const float x = x_lower[i] + (x_upper[i] - x_lower[i]) * x_part;
        const float correction = c_lower[i] + (c_upper[i] - c_lower[i]) * c_part;
        const DepthdPixel pixel =
            depthd_merge_pixel(stereo_m[i], x, correction, mono_sigma[i], rim_share[i], near_claim[i], far_claim[i],
                               blur[i], &p);
        depth_m[i] = pixel.depth_m;
        block->source[i] = pixel.source;
        block->sigma[i] = pixel.sigma;
    }
}

/* Packs the sources and counts them; a value that is no source fills the block. */
static inline __attribute__((always_inline)) void pack_sources(const Block *block, int count, uint8_t *restrict source,
                                                               int32_t counts[DEPTHD_SOURCES])
{
    uint8_t packed[BLOCK];
    for (int i = 0; i < BLOCK; i++) packed[i] = (uint8_t)block->source[i];
    memset(packed + count, DEPTHD_SOURCES, (size_t)(BLOCK - count));
    memcpy(source, packed, (size_t)count);
    for (int s = 0; s < DEPTHD_SOURCES; s++) {
        Bytes found = {0};
        for (int i = 0; i < BLOCK; i += BYTES) found -= (Bytes)(*(const Bytes *)(packed + i) == (uint8_t)s);
        for (int lane = 0; lane < BYTES; lane++) counts[s] += found[lane];
    }
}

DEPTHD_WIDE static void merge_row(const Row *row, int width, const DepthdMergeParameters *parameters, float *depth_m,
                                  uint8_t *restrict source, uint16_t *restrict sigma, int32_t counts[DEPTHD_SOURCES])
{
    Block block = {0};
    for (int first = 0; first < width; first += BLOCK) {
        const int count = depthd_smaller(BLOCK, width - first);
        merge_block(row, first, count, parameters, depth_m + first, &block);
        for (int i = 0; i < count; i++) sigma[first + i] = depthd_half(block.sigma[i]);
        pack_sources(&block, count, source + first, counts);
    }
}

/* Every pixel of a cell gets the cell's value. */
static void repeat_row(const float *cells, int cell_px, int width, float *out)
{
    for (int first = 0; first < width; first += cell_px, cells++) {
        const int last = depthd_smaller(first + cell_px, width);
        for (int i = first; i < last; i++) out[i] = *cells;
    }
}

static Between rows_between(const float *plane, const Axis *axis, int y, int rows, int width)
{
    const int lower = axis->index[y], upper = depthd_smaller(lower + 1, rows - 1);
    return (Between){plane + (size_t)lower * width, plane + (size_t)upper * width, axis->part[y]};
}

/* The rows of pixels of one row of cells. */
static void merge_band(void *context, int cell_row, int worker)
{
    const Merging *job = context;
    const DepthdFusion *f = job->f;
    const int width = f->p.width, first_cell = cell_row * f->p.columns;
    float *sigma = depthd_scratch_of(f, worker), *rim_share = sigma + width, *near_claim = rim_share + width;
    float *far_claim = near_claim + width, *blur = far_claim + width, *unknown = blur + width, *none = unknown + width;
    if (job->fitted) {
        repeat_row(f->alignment.sigma + first_cell, f->p.cell_px, width, sigma);
        repeat_row(f->alignment.rim_share + first_cell, f->p.cell_px, width, rim_share);
        repeat_row(f->alignment.near_claim + first_cell, f->p.cell_px, width, near_claim);
        repeat_row(f->alignment.far_claim + first_cell, f->p.cell_px, width, far_claim);
        repeat_row(f->alignment.blur + first_cell, f->p.cell_px, width, blur);
    } else {
        for (int i = 0; i < width; i++) sigma[i] = rim_share[i] = near_claim[i] = far_claim[i] = blur[i] = none[i] = 0.0f;
        for (int i = 0; i < width; i++) unknown[i] = NAN;
    }
    int32_t *counts = f->row_sources[cell_row];
    memset(counts, 0, sizeof f->row_sources[cell_row]);
    const int first = cell_row * f->p.cell_px, last = depthd_smaller(first + f->p.cell_px, f->p.height);
    for (int y = first; y < last; y++) {
        const size_t start = (size_t)y * width;
        Row row = {job->stereo_m + start, sigma, rim_share, near_claim, far_claim, blur, {unknown, unknown, 0.0f}, {none, none, 0.0f}};
        if (job->fitted) {
            row.x = rows_between(f->wide, &f->mono_y, y, f->small_height, width);
            row.correction = rows_between(f->wide_correction, &f->cell_y, y, f->p.rows, width);
        }
        merge_row(&row, width, &job->parameters, job->depth_m + start, job->source + start, job->sigma + start, counts);
    }
}

static DepthdMergeParameters merge_parameters(const DepthdFusion *f, const DepthdLine *line)
{
    const DepthdFusionParameters *p = &f->p;
    return (DepthdMergeParameters){
        .scale = line ? (float)line->scale : 0.0f,
        .shift = line ? (float)line->shift : 0.0f,
        .mono_noise = (float)f->alignment.noise,
        .stereo_noise = (float)p->stereo_noise,
        .softening = (float)f->scene.softening,
        .stereo_minimum_m = (float)(1.0 / p->stereo_inverse_maximum),
        .stereo_maximum_m = (float)(1.0 / p->stereo_inverse_minimum),
        .inverse_minimum = (float)p->inverse_minimum,
        .inverse_maximum = (float)p->inverse_maximum,
        .gate_sigmas = (float)p->gate_sigmas,
        .gate_minimum = (float)p->gate_minimum,
    };
}

void depthd_merge(DepthdFusion *f, const float *stereo_m, const DepthdLine *line, float *depth_m, uint8_t *source,
                  uint16_t *sigma, int64_t pixels_per_source[DEPTHD_SOURCES])
{
    Merging job = {f, line != NULL, merge_parameters(f, line), stereo_m, depth_m, source, sigma};
    depthd_team_share(f->team, f->p.rows, merge_band, &job);
    for (int s = 0; s < DEPTHD_SOURCES; s++) {
        pixels_per_source[s] = 0;
        for (int row = 0; row < f->p.rows; row++) pixels_per_source[s] += f->row_sources[row][s];
    }
}
