/* 6. Judge stereo and merge: every pixel is decided by depthd_merge_pixel(). */
#include "fusion_internal.h"

#include <omp.h>

/* Values of cells along one row of pixels. */
typedef struct Row {
    float *restrict correction, *restrict sigma, *restrict rim_share;
} Row;

DEPTHD_WIDE static void merge_row(const float *restrict stereo_m, const float *restrict x, Row row, int width,
                                  const DepthdMergeParameters *parameters, float *restrict depth_m,
                                  uint8_t *restrict source, uint16_t *restrict sigma)
{
    const DepthdMergeParameters p = *parameters;
    for (int i = 0; i < width; i++) {
        const DepthdPixel pixel =
            depthd_merge_pixel(stereo_m[i], x[i], row.correction[i], row.sigma[i], row.rim_share[i], &p);
        depth_m[i] = pixel.depth_m;
        source[i] = pixel.source;
        sigma[i] = depthd_half(pixel.sigma);
    }
}

DEPTHD_WIDE static void count_sources(const uint8_t *restrict source, int width, int64_t counts[6])
{
    for (int s = 0; s < 6; s++) {
        int count = 0;
        for (int i = 0; i < width; i++) count += source[i] == s;
        counts[s] += count;
    }
}

static void spread_row(const DepthdFusion *f, const float *plane, int y, float *cell_row, float *out)
{
    const int lower = f->cell_y.index[y], upper = lower + 1 < f->p.rows ? lower + 1 : lower;
    depthd_lerp_rows(plane + lower * f->p.columns, plane + upper * f->p.columns, f->cell_y.part[y], f->p.columns, cell_row);
    depthd_upsample_row(cell_row, &f->cell_x, f->p.width, out);
}

/* Every pixel of a cell gets the cell's value. */
static void repeat_row(const float *cells, int cell_px, int width, float *out)
{
    for (int first = 0; first < width; first += cell_px, cells++) {
        const int last = first + cell_px < width ? first + cell_px : width;
        for (int i = first; i < last; i++) out[i] = *cells;
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
        .stereo_minimum_m = (float)(1.0 / p->stereo_inverse_maximum),
        .stereo_maximum_m = (float)(1.0 / p->stereo_inverse_minimum),
        .inverse_minimum = (float)p->inverse_minimum,
        .inverse_maximum = (float)p->inverse_maximum,
        .gate_sigmas = (float)p->gate_sigmas,
        .gate_minimum = (float)p->gate_minimum,
        .far_claim_factor = (float)p->far_claim_factor,
        .near_claim_factor = (float)p->near_claim_factor,
    };
}

void depthd_merge(DepthdFusion *f, const float *stereo_m, const DepthdLine *line, float *depth_m, uint8_t *source,
                  uint16_t *sigma, int64_t pixels_per_source[6])
{
    const DepthdMergeParameters p = merge_parameters(f, line);
    const int width = f->p.width;
    int64_t counts[6] = {0};
#pragma omp parallel for schedule(static) num_threads(f->threads) reduction(+ : counts[:6])
    for (int y = 0; y < f->p.height; y++) {
        float *scratch = f->row_scratch + f->row_scratch_size * (size_t)omp_get_thread_num();
        const Row row = {scratch, scratch + width, scratch + 2 * width};
        float *x = f->x + (size_t)y * width, *cell_row = scratch + 3 * width;
        if (line) {
            spread_row(f, f->alignment.correction, y, cell_row, row.correction);
            const int first_cell = y / f->p.cell_px * f->p.columns;
            repeat_row(f->alignment.sigma + first_cell, f->p.cell_px, width, row.sigma);
            repeat_row(f->alignment.rim_share + first_cell, f->p.cell_px, width, row.rim_share);
        } else {
            memset(scratch, 0, sizeof(float) * 3 * (size_t)width);
            for (int i = 0; i < width; i++) x[i] = NAN;
        }
        const size_t first = (size_t)y * width;
        merge_row(stereo_m + first, x, row, width, &p, depth_m + first, source + first, sigma + first);
        count_sources(source + first, width, counts);
    }
    memcpy(pixels_per_source, counts, sizeof counts);
}
