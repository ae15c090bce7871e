/* 5. Align locally: a bilateral grid of the line's relative error. */
#include "fusion_internal.h"

/* Relative error of the line per sample, and the trust in it; returns mono's noise about the corrected line. */
DEPTHD_WIDE static void judge_samples(const DepthdFusion *f, double end, const DepthdLine *line, double noise)
{
    const double *restrict xs = f->own.x, *restrict rhos = f->own.rho, *restrict calms = f->sample_calm;
    const double *restrict corrections = f->scratch;
    double *restrict trust = f->trust, *restrict error = f->error, *restrict bin_weight = f->bin_weight;
    int *restrict bin = f->bin;
    const double scale = line->scale, shift = line->shift;
    const double stereo_noise = f->p.stereo_noise, inverse_minimum = f->p.inverse_minimum;
    for (int i = 0; i < f->own.count; i++) {
        const DepthdCellError cell = depthd_cell_error(rhos[i], scale * xs[i] + shift, corrections[i], calms[i], noise, end,
                                                       stereo_noise, inverse_minimum);
        trust[i] = cell.trust;
        error[i] = cell.error;
        bin_weight[i] = cell.bin_weight;
        bin[i] = cell.bin;
    }
}

static double local_errors(DepthdFusion *f, double end, const DepthdLine *line, double noise)
{
    for (int i = 0; i < f->own.count; i++) f->scratch[i] = f->correction[f->sample_cell[i]];
    judge_samples(f, end, line, noise);
    return depthd_median_noise(f->bin, f->bin_weight, f->own.count, noise);
}

DEPTHD_WIDE static void find_levels(DepthdFusion *f, const DepthdLine *line)
{
    const float *restrict x = f->cells.x_all;
    float *restrict level = f->level;
    const float scale = (float)line->scale, shift = (float)line->shift;
    const float low = (float)f->p.inverse_minimum, high = (float)f->p.inverse_maximum;
    for (int cell = 0; cell < f->cell_count; cell++)
        level[cell] = depthd_level(scale * x[cell] + shift, low, high) * (DEPTHD_GRID_LEVELS - 1);
}

static inline int lower_level(float level)
{
    return (int)level < DEPTHD_GRID_LEVELS - 2 ? (int)level : DEPTHD_GRID_LEVELS - 2;
}

/* Adds a sample to the eight nodes around it, by nearness. */
static void splat(const DepthdFusion *f, int sample, Grid grid)
{
    const int cell = f->sample_cell[sample], row = cell / f->p.columns, column = cell % f->p.columns;
    const int level = lower_level(f->level[cell]), row_stride = f->p.grid_columns * DEPTHD_GRID_LEVELS;
    const double up = f->level[cell] - level, right = f->grid_x.part[column], down = f->grid_y.part[row];
    const int first = f->grid_y.index[row] * row_stride + f->grid_x.index[column] * DEPTHD_GRID_LEVELS + level;
    for (int corner = 0; corner < 4; corner++) {
        const double beside = corner & 1 ? right : 1.0 - right, below = corner & 2 ? down : 1.0 - down;
        const int node = first + (corner & 2 ? row_stride : 0) + (corner & 1 ? DEPTHD_GRID_LEVELS : 0);
        const double weight = f->trust[sample] * beside * below, error = f->error[sample];
        grid.weight[node] += weight * (1.0 - up);
        grid.weight[node + 1] += weight * up;
        grid.weighted_error[node] += weight * (1.0 - up) * error;
        grid.weighted_error[node + 1] += weight * up * error;
    }
}

static void collect(DepthdFusion *f)
{
    const Grid *memory = &f->memory.evidence;
    for (int node = 0; node < f->node_count; node++) {
        f->evidence.weighted_error[node] = f->p.alignment_decay * memory->weighted_error[node];
        f->evidence.weight[node] = f->p.alignment_decay * memory->weight[node];
    }
    for (int i = 0; i < f->own.count; i++)
        if (f->trust[i] > 0) splat(f, i, f->evidence);
}

/* Trilinear interpolation of a grid plane at one row of cells; `blended` holds the grid between its two rows of nodes. */
DEPTHD_WIDE static void sample_row(const float *restrict blended, const Axis *axis, const float *restrict level, int columns,
                                   float *restrict out)
{
    const int *restrict index = axis->index;
    const float *restrict part = axis->part;
    for (int c = 0; c < columns; c++) {
        const int l = (int)level[c] < DEPTHD_GRID_LEVELS - 2 ? (int)level[c] : DEPTHD_GRID_LEVELS - 2;
        const float up = level[c] - l;
        const int left = index[c] * DEPTHD_GRID_LEVELS + l, right = left + DEPTHD_GRID_LEVELS;
        const float here = blended[left] + (blended[left + 1] - blended[left]) * up;
        const float beside = blended[right] + (blended[right + 1] - blended[right]) * up;
        out[c] = here + (beside - here) * part[c];
    }
}

static void sample_plane(DepthdFusion *f, const double *plane, float *out)
{
    const int columns = f->p.columns, nodes = f->p.grid_columns * DEPTHD_GRID_LEVELS;
    for (int row = 0; row < f->p.rows; row++) {
        const double *lower = plane + f->grid_y.index[row] * nodes, *upper = lower + nodes;
        const double part = f->grid_y.part[row];
        for (int i = 0; i < nodes; i++) f->smooth_row[i] = (float)(lower[i] + (upper[i] - lower[i]) * part);
        sample_row(f->smooth_row, &f->grid_x, f->level + row * columns, columns, out + row * columns);
    }
}

/* [1 2 1] / 4 between three lines; NULL stands for a line beyond the border. */
DEPTHD_WIDE static void blur_lines(const double *before, const double *here, const double *after, int count, double *restrict out)
{
    for (int i = 0; i < count; i++)
        out[i] = 0.5 * here[i] + 0.25 * ((before ? before[i] : 0.0) + (after ? after[i] : 0.0));
}

/* The same along `count` groups of `depth` values. */
static void blur_axis(const double *in, double *out, int count, int depth)
{
    for (int i = 0; i < count; i++)
        blur_lines(i > 0 ? in + (i - 1) * depth : NULL, in + i * depth, i + 1 < count ? in + (i + 1) * depth : NULL, depth,
                   out + i * depth);
}

DEPTHD_WIDE static void blur_values(const double *restrict in, double *restrict out, int count)
{
    out[0] = 0.5 * in[0] + (count > 1 ? 0.25 * in[1] : 0.0);
    for (int i = 1; i < count - 1; i++) out[i] = 0.5 * in[i] + 0.25 * (in[i - 1] + in[i + 1]);
    if (count > 1) out[count - 1] = 0.5 * in[count - 1] + 0.25 * in[count - 2];
}

/* Blurs a plane of rows * columns * depth values along rows and columns, in place. */
static void blur_plane(double *plane, double *scratch, int rows, int columns, int depth)
{
    blur_axis(plane, scratch, rows, columns * depth);
    for (int r = 0; r < rows; r++) {
        const int first = r * columns * depth;
        if (depth == 1) blur_values(scratch + first, plane + first, columns);
        else blur_axis(scratch + first, plane + first, columns, depth);
    }
}

static void sum_levels(const double *plane, double *sums, int count)
{
    for (int i = 0; i < count; i++) {
        sums[i] = 0.0;
        for (int l = 0; l < DEPTHD_GRID_LEVELS; l++) sums[i] += plane[i * DEPTHD_GRID_LEVELS + l];
    }
}

/* Turns the evidence into a correction (smooth.weighted_error) and its support (smooth.weight) at each node. */
static void smooth(DepthdFusion *f)
{
    const int rows = f->p.grid_rows, columns = f->p.grid_columns, flat = rows * columns;
    double *scratch = f->grid_scratch, *wide_error = scratch + f->node_count, *wide_weight = wide_error + flat,
           *column_error = wide_weight + flat, *column_weight = column_error + flat;
    sum_levels(f->evidence.weighted_error, wide_error, flat);
    sum_levels(f->evidence.weight, wide_weight, flat);
    for (int pass = 0; pass < DEPTHD_WIDE_PASSES; pass++) {
        blur_plane(wide_error, scratch, rows, columns, 1);
        blur_plane(wide_weight, scratch, rows, columns, 1);
    }
    double *const planes[2] = {f->smooth.weighted_error, f->smooth.weight};
    const double *const evidence[2] = {f->evidence.weighted_error, f->evidence.weight};
    double *const sums[2] = {column_error, column_weight};
    for (int k = 0; k < 2; k++) {
        memcpy(planes[k], evidence[k], sizeof(double) * (size_t)f->node_count);
        blur_plane(planes[k], scratch, rows, columns, DEPTHD_GRID_LEVELS);
        sum_levels(planes[k], sums[k], flat);
        memcpy(scratch, planes[k], sizeof(double) * (size_t)f->node_count);
        for (int i = 0; i < flat; i++)
            blur_values(scratch + i * DEPTHD_GRID_LEVELS, planes[k] + i * DEPTHD_GRID_LEVELS, DEPTHD_GRID_LEVELS);
    }
    for (int node = 0; node < f->node_count; node++) {
        const int i = node / DEPTHD_GRID_LEVELS;
        const double wide = wide_error[i] / (wide_weight[i] + DEPTHD_WIDE_PRIOR);
        const double column = (column_error[i] + DEPTHD_COLUMN_PRIOR * wide) / (column_weight[i] + DEPTHD_COLUMN_PRIOR);
        const double weight = planes[1][node];
        planes[0][node] = (planes[0][node] + DEPTHD_NODE_PRIOR * column) / (weight + DEPTHD_NODE_PRIOR);
        planes[1][node] = weight / (weight + DEPTHD_NODE_PRIOR);
    }
}

/* The line that is left when the local correction is taken out of stereo. */
static DepthdLine refit_line(DepthdFusion *f, double end, DepthdLine line, double noise)
{
    for (int i = 0; i < f->own.count; i++) f->own.rho[i] /= 1.0 + f->correction[f->sample_cell[i]];
    const Samples nothing = {NULL, NULL, NULL, 0};
    line.noise = noise;
    line = depthd_fit_line(f, &nothing, end, line, DEPTHD_REFIT_ITERATIONS);
    for (int i = 0; i < f->own.count; i++) f->own.rho[i] = f->cells.rho[f->sample_cell[i]];
    return line;
}

/* [1 4 6 4 1] / 16 along rows and columns of cells, in place. */
static void binomial(DepthdFusion *f, double *plane)
{
    for (int pass = 0; pass < 2; pass++) blur_plane(plane, f->scratch, f->p.rows, f->p.columns, 1);
}

/* Adds to the correction what trusted stereo at the rim of a hole says beyond it. */
static void bend_to_rim(DepthdFusion *f)
{
    double *weight = f->cell_weight, *error = f->cell_error;
    memset(weight, 0, sizeof(double) * (size_t)f->cell_count);
    memset(error, 0, sizeof(double) * (size_t)f->cell_count);
    for (int i = 0; i < f->own.count; i++) {
        const int cell = f->sample_cell[i];
        weight[cell] = f->trust[i];
        error[cell] = f->trust[i] * (f->error[i] - f->correction[cell]);
    }
    binomial(f, weight);
    binomial(f, error);
    for (int cell = 0; cell < f->cell_count; cell++) {
        f->alignment.correction[cell] = (float)(f->correction[cell] + error[cell] / (weight[cell] + DEPTHD_RIM_PRIOR));
        f->alignment.rim_share[cell] = (float)(weight[cell] / (weight[cell] + DEPTHD_RIM_PRIOR));
    }
}

DEPTHD_WIDE static void claim_sigma(DepthdFusion *f, const DepthdLine *line, double global_noise)
{
    const float *restrict x = f->cells.x_all, *restrict support = f->support;
    float *restrict sigma = f->alignment.sigma;
    const double noise = f->alignment.noise, inverse_minimum = f->p.inverse_minimum;
    const DepthdLine l = *line;
    for (int cell = 0; cell < f->cell_count; cell++) {
        sigma[cell] = (float)depthd_cell_sigma(l.scale * x[cell] + l.shift, x[cell] - l.pivot, support[cell], noise,
                                               global_noise, l.value_variance, l.scale_variance, inverse_minimum);
    }
}

DepthdLine depthd_align(DepthdFusion *f, double end, DepthdLine line, bool refit)
{
    const double global_noise = line.noise;
    double noise = line.noise;
    memset(f->correction, 0, sizeof(float) * (size_t)f->cell_count);
    for (int round = 0; round < DEPTHD_ALIGNMENT_ROUNDS; round++) {
        noise = local_errors(f, end, &line, noise);
        find_levels(f, &line);
        collect(f);
        smooth(f);
        sample_plane(f, f->smooth.weighted_error, f->correction);
        if (refit && round < DEPTHD_ALIGNMENT_ROUNDS - 1) {
            line = refit_line(f, end, line, noise);
            noise = line.noise;
        }
    }
    sample_plane(f, f->smooth.weight, f->support);
    memcpy(f->memory.evidence.weighted_error, f->evidence.weighted_error, sizeof(double) * (size_t)f->node_count);
    memcpy(f->memory.evidence.weight, f->evidence.weight, sizeof(double) * (size_t)f->node_count);
    f->alignment.noise = local_errors(f, end, &line, noise);
    claim_sigma(f, &line, global_noise);
    bend_to_rim(f);
    return line;
}
