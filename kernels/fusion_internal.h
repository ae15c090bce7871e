/* What the parts of the CPU fusion share. Every file follows the section of the same name in depthd/fusion/reference.py.
 *
 * Work is split into parts that do not depend on the number of threads, and what parts add up is added in their order: so the
 * result is the same, bit by bit, on any number of cores.
 */
#ifndef DEPTHD_FUSION_INTERNAL_H
#define DEPTHD_FUSION_INTERNAL_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "depth_math.h"
#include "fusion.h"
#include "team.h"

/* Row loops are compiled twice and the processor's better version is chosen at load time. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define DEPTHD_WIDE __attribute__((target_clones("avx2", "default"), noinline))
#else
#define DEPTHD_WIDE __attribute__((noinline))
#endif

enum { DEPTHD_PARTS = 8, DEPTHD_SOURCES = 6 };

/* Flat arrays of equal length: mono, stereo inverse depth (1/m), weight. */
typedef struct Samples {
    double *x, *rho, *weight;
    int count;
} Samples;

/* One value per cell, rows * columns. */
typedef struct Cells {
    float *fill, *rho, *variance, *x, *x_all, *x_range;
} Cells;

/* Bilinear upsampling of one axis: the lower of the two neighbours, and the part of the upper one. */
typedef struct Axis {
    int *index;
    float *part;
} Axis;

/* One node of the alignment grid: grid_rows * grid_columns * DEPTHD_GRID_LEVELS of them, levels together. */
typedef struct Node {
    double weighted_error, weight;
} Node;

/* What the cells around say, smoothed: of the line's error beyond the correction, with its weight, how calm stereo is, and how
 * full. */
typedef struct Rim {
    double weighted_error, weight, calm, fill;
} Rim;

enum { RIM_VALUES = sizeof(Rim) / sizeof(double) };

/* Per cell, as `Alignment` in reference.py; `correction` already holds the rim's part. */
typedef struct Alignment {
    float *correction, *rim_share, *sigma, *near_claim, *far_claim, *blur;
    double noise;
} Alignment;

typedef struct Memory {
    double samples[3][DEPTHD_MEMORY_BINS]; /* weight, weight * x, weight * rho */
    Node *evidence;
    DepthdLine line, aligned;
    bool has_line;
    int age_frames;
    double softening;
    float *x;         /* mono of the frame before, without its flicker: small_height * small_width */
    bool has_x;
    float *predicted; /* inverse depth of each cell in the frame before */
    bool has_predicted;
} Memory;

typedef struct Moments {
    double weight, x, rho, xx, x_rho, rho_rho;
} Moments;

/* Sums over samples that judge a line. */
typedef struct Judgement {
    Moments inlier, information; /* each about the origin; information without rho */
    double plausible, agreeing;
} Judgement;

/* Some rows of cells, the samples in them, and what they contribute to sums. */
typedef struct Part {
    int first_row, last_row; /* the last one is beyond the part */
    int first, count;        /* samples */
    double x_low, x_high, x_sum, rho_sum;
    int crowd[DEPTHD_BALANCE_BINS];
    Moments moments;
    Judgement judgement;
    double errors[DEPTHD_ERROR_BINS];
    double memory[3][DEPTHD_MEMORY_BINS];
    Node *evidence; /* of the grid's size, filled only near the part's rows */
} Part;

struct DepthdFusion {
    DepthdFusionParameters p;
    DepthdTeam *team;
    int threads;
    int cell_count, node_count;

    int small_height, small_width;
    float *wide; /* mono, turned linear and as wide as the picture: small_height rows */
    Axis mono_x, mono_y, cell_x, cell_y;
    float *row_scratch;
    size_t row_scratch_size; /* floats for one thread */

    Cells cells;
    float *row_largest; /* largest inverse depth measured in each row of cells */

    /* Samples: those of a part lie together, beginning at the place of its first cell, so there are gaps. */
    Part *parts;
    Samples own; /* count is that of all parts */
    int *row_first, *row_count; /* samples of each row of cells */
    double x_origin, rho_origin; /* means of the samples */
    DepthdScene scene;
    double chosen[4][DEPTHD_STRATA * DEPTHD_STRATA]; /* for the consensus: x, rho, weight, and the rho of another place */
    int chosen_count;
    int *sample_cell, *sample_node, *bin;
    float *sample_x_all, *sample_right, *sample_correction, *level;
    double *calm, *flat_rho, *trust, *error, *bin_weight, *place;

    Axis grid_x, grid_y; /* place of each cell on the grid: of a column in nodes, of a row in rows of nodes */
    Node *evidence;
    double *grid_scratch;
    float *node_correction;
    float *correction; /* per cell, without the rim's part */
    Rim *rim;          /* per cell */
    float *wide_correction;                     /* as wide as the picture: one row per row of cells */
    Alignment alignment;
    Memory memory;
    int32_t (*row_sources)[DEPTHD_SOURCES]; /* pixels per source in each row of cells */
};

/* cells */
bool depthd_take_mono(DepthdFusion *f, const float *mono, int height, int width);
void depthd_summarise(DepthdFusion *f, const float *stereo_m);
void depthd_select_usable(DepthdFusion *f);
void depthd_fill_axis(Axis *axis, int size, int small_size);
void depthd_upsample_row(const float *small_row, const Axis *axis, int count, float *out);

/* consensus */
bool depthd_consensus(DepthdFusion *f, const DepthdLine *earlier, DepthdLine *best);
/* How many more of the chosen samples lie on the line than by chance. */
double depthd_agreement(DepthdFusion *f, const DepthdLine *line);

/* fit: `rho` is own.rho, or own samples with their local correction taken out */
DepthdLine depthd_fit_line(DepthdFusion *f, const double *rho, const Samples *earlier, DepthdLine start,
                           int iterations);
DepthdLine depthd_judged(DepthdFusion *f, const double *rho, DepthdLine line);
bool depthd_acceptable(const DepthdLine *line, double agreement, const DepthdFusionParameters *p);
/* How many of the samples that could lie on the line do; 1 if there are none. */
double depthd_agreeing_share(const Samples *s, const DepthdLine *line, DepthdScene scene);
double depthd_agreeing_share_of_frame(const DepthdFusion *f, const DepthdLine *line);

/* Mono's relative noise: the median read off the parts' histograms of errors. */
double depthd_median_noise(const DepthdFusion *f, double fallback);
/* Enters one part's errors into its histogram. */
void depthd_count_errors(DepthdFusion *f, Part *part);

/* memory */
Samples depthd_remembered(const Memory *memory, double buffer[3][DEPTHD_MEMORY_BINS]);
void depthd_remember(DepthdFusion *f, const DepthdLine *line);
/* After a cut: what was seen does not hold any more, the last line may. */
void depthd_forget_scene(Memory *memory, int node_count);

/* align, with the grid it works on */
DepthdLine depthd_align(DepthdFusion *f, DepthdLine line, bool refit);
void depthd_splat(const DepthdFusion *f, Part *part);
void depthd_smooth(DepthdFusion *f);
/* [1 2 1] / 4 between values that lie `stride` apart, nothing beyond the ends; count is a multiple of stride. */
void depthd_blur(const double *in, double *out, int count, int stride);
void depthd_find_levels(const DepthdFusion *f, const float *x, int count, const DepthdLine *line, float *level);
void depthd_sample_row(const DepthdFusion *f, const float *nodes, int row, const int *node, const float *right,
                       const float *level, int count, float *scratch, float *out);

/* merge */
void depthd_merge(DepthdFusion *f, const float *stereo_m, const DepthdLine *line, float *depth_m, uint8_t *source,
                  uint16_t *sigma, int64_t pixels_per_source[DEPTHD_SOURCES]);

static inline double depthd_line_at(const DepthdLine *line, double x) { return line->scale * x + line->shift; }
static inline int depthd_smaller(int a, int b) { return a < b ? a : b; }

/* What one thread alone writes to. */
static inline float *depthd_scratch_of(const DepthdFusion *f, int worker)
{
    return f->row_scratch + f->row_scratch_size * (size_t)worker;
}

#endif
