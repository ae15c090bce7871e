/* What the parts of the CPU fusion share. Every part follows the section of the same name in depthd/fusion/reference.py. */
#ifndef DEPTHD_FUSION_INTERNAL_H
#define DEPTHD_FUSION_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "depth_math.h"
#include "fusion.h"

/* Row loops are compiled twice and the processor's better version is chosen at load time. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define DEPTHD_WIDE __attribute__((target_clones("avx2", "default"), noinline))
#else
#define DEPTHD_WIDE __attribute__((noinline))
#endif

/* Flat arrays of equal length: mono, stereo inverse depth (1/m), weight. */
typedef struct Samples {
    double *x, *rho, *weight;
    int count;
} Samples;

/* One value per cell, rows * columns. */
typedef struct Cells {
    float *fill, *rho, *variance, *x, *x_all;
    uint8_t *usable;
} Cells;

/* Bilinear upsampling of one axis: the lower of the two neighbours, and the part of the upper one. */
typedef struct Axis {
    int *index;
    float *part;
} Axis;

/* Evidence of the alignment: two planes of grid_rows * grid_columns * DEPTHD_GRID_LEVELS. */
typedef struct Grid {
    double *weighted_error, *weight;
} Grid;

/* Per cell, as `Alignment` in reference.py; `correction` already holds the rim's part. */
typedef struct Alignment {
    float *correction, *rim_share, *sigma;
    double noise;
} Alignment;

typedef struct Memory {
    double samples[3][DEPTHD_MEMORY_BINS]; /* weight, weight * x, weight * rho */
    Grid evidence;
    DepthdLine line, aligned;
    bool has_line;
    int age_frames;
} Memory;

struct DepthdFusion {
    DepthdFusionParameters p;
    int threads;
    int cell_count, node_count;

    float *small; /* mono, turned linear */
    int small_height, small_width;
    Axis mono_x, mono_y, cell_x, cell_y;
    float *x; /* mono at every pixel */
    float *row_scratch;
    size_t row_scratch_size; /* floats for one thread */

    Cells cells;
    Samples own;
    int *sample_cell;
    double *sample_calm, *trust, *error; /* one value per sample */
    int *bin;
    double *bin_weight;
    double *cell_weight, *cell_error, *scratch; /* one value per cell */
    float *correction, *support;
    float *level; /* place of each cell on the grid's third axis */
    Axis grid_x, grid_y; /* place of each cell on the other two */
    Grid evidence, smooth;
    float *smooth_row; /* a row of cells' view of the smooth grid */
    double *grid_scratch;
    Alignment alignment;
    Memory memory;
};

/* cells */
bool depthd_take_mono(DepthdFusion *f, const float *mono, int height, int width);
void depthd_summarise(DepthdFusion *f, const float *stereo_m);
double depthd_select_usable(DepthdFusion *f);
void depthd_fill_axis(Axis *axis, int size, int small_size);
void depthd_lerp_rows(const float *lower, const float *upper, float part, int count, float *out);
void depthd_upsample_row(const float *small_row, const Axis *axis, int count, float *out);

/* fit */
bool depthd_consensus(const DepthdFusion *f, double end, const DepthdLine *earlier, DepthdLine *best);
DepthdLine depthd_fit_line(const DepthdFusion *f, const Samples *earlier, double end, DepthdLine start, int iterations);
bool depthd_acceptable(const DepthdLine *line, const DepthdFusionParameters *p);
bool depthd_contradicts(const Samples *s, const DepthdLine *line, double share, double end,
                        const DepthdFusionParameters *p);
double depthd_median_noise(const int *bin, const double *weight, int count, double fallback);

/* memory */
Samples depthd_remembered(const Memory *memory, double buffer[3][DEPTHD_MEMORY_BINS]);
void depthd_remember(Memory *memory, const Samples *s, double end, const DepthdLine *line,
                     const DepthdFusionParameters *p);
void depthd_forget_scene(Memory *memory, int node_count);

/* align */
DepthdLine depthd_align(DepthdFusion *f, double end, DepthdLine line, bool refit);

/* merge */
void depthd_merge(DepthdFusion *f, const float *stereo_m, const DepthdLine *line, float *depth_m, uint8_t *source,
                  uint16_t *sigma, int64_t pixels_per_source[6]);

static inline double depthd_line_at(const DepthdLine *line, double x) { return line->scale * x + line->shift; }

/* Weight of a sample that the biweight leaves. */
static inline double depthd_inlier_weight(double x, double rho, double weight, double end, const DepthdLine *line,
                                          const DepthdFusionParameters *p)
{
    const double predicted = depthd_line_at(line, x);
    const double variance = depthd_variance(predicted, line->noise, p->stereo_noise, p->inverse_minimum);
    const double u = (rho - predicted) / (sqrt(variance) * DEPTHD_TUKEY_FIT);
    return predicted < end ? weight * depthd_tukey(u) : 0.0;
}

#endif
