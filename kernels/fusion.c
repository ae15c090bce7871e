/* The six steps in their order, and the memory they work in. */
#include "fusion_internal.h"

#include <omp.h>

static void *zeros(size_t count, size_t size) { return calloc(count ? count : 1, size); }

static bool allocate_axis(Axis *axis, int size)
{
    axis->index = zeros((size_t)size, sizeof(int));
    axis->part = zeros((size_t)size, sizeof(float));
    return axis->index && axis->part;
}

static void free_axis(Axis *axis)
{
    free(axis->index);
    free(axis->part);
}

/* Where the centre of each cell lies between the nodes of the alignment grid. */
static void fill_grid_axis(Axis *axis, int count, double grid_step)
{
    for (int i = 0; i < count; i++) {
        const double position = (i + 0.5) / grid_step;
        axis->index[i] = (int)position;
        axis->part[i] = (float)(position - (int)position);
    }
}

static bool allocate_grid(Grid *grid, int count)
{
    grid->weighted_error = zeros((size_t)count, sizeof(double));
    grid->weight = zeros((size_t)count, sizeof(double));
    return grid->weighted_error && grid->weight;
}

static void free_grid(Grid *grid)
{
    free(grid->weighted_error);
    free(grid->weight);
}

/* The planes that have one value per cell. */
static bool allocate_cells(DepthdFusion *f)
{
    float **const floats[] = {&f->cells.fill, &f->cells.rho, &f->cells.variance, &f->cells.x, &f->cells.x_all, &f->level,
                              &f->correction, &f->support, &f->alignment.correction, &f->alignment.rim_share,
                              &f->alignment.sigma};
    double **const doubles[] = {&f->own.x, &f->own.rho, &f->own.weight, &f->sample_calm, &f->trust, &f->error,
                                &f->bin_weight, &f->cell_weight, &f->cell_error, &f->scratch};
    const size_t count = (size_t)f->cell_count;
    bool good = true;
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) good &= (*floats[i] = zeros(count, sizeof(float))) != NULL;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) good &= (*doubles[i] = zeros(count, sizeof(double))) != NULL;
    f->cells.usable = zeros(count, 1);
    f->sample_cell = zeros(count, sizeof(int));
    f->bin = zeros(count, sizeof(int));
    return good && f->cells.usable && f->sample_cell && f->bin;
}

DepthdFusion *depthd_fusion_create(const DepthdFusionParameters *parameters)
{
    DepthdFusion *f = zeros(1, sizeof *f);
    if (!f) return NULL;
    f->p = *parameters;
    f->threads = parameters->threads > 0 ? parameters->threads : omp_get_num_procs();
    f->cell_count = f->p.rows * f->p.columns;
    f->node_count = f->p.grid_rows * f->p.grid_columns * DEPTHD_GRID_LEVELS;
    const int flat = f->p.grid_rows * f->p.grid_columns;
    f->x = zeros((size_t)f->p.height * f->p.width, sizeof(float));
    f->grid_scratch = zeros((size_t)f->node_count + 4 * (size_t)flat, sizeof(double));
    f->smooth_row = zeros((size_t)f->p.grid_columns * DEPTHD_GRID_LEVELS, sizeof(float));
    bool good = f->x && f->grid_scratch && f->smooth_row;
    good &= allocate_axis(&f->grid_x, f->p.columns) && allocate_axis(&f->grid_y, f->p.rows);
    good &= allocate_axis(&f->mono_x, f->p.width) && allocate_axis(&f->mono_y, f->p.height);
    good &= allocate_axis(&f->cell_x, f->p.width + f->p.cell_px) && allocate_axis(&f->cell_y, f->p.height + f->p.cell_px);
    good &= allocate_grid(&f->evidence, f->node_count) && allocate_grid(&f->smooth, f->node_count);
    good &= allocate_grid(&f->memory.evidence, f->node_count);
    good &= allocate_cells(f);
    if (!good) {
        depthd_fusion_destroy(f);
        return NULL;
    }
    fill_grid_axis(&f->grid_x, f->p.columns, f->p.grid_step);
    fill_grid_axis(&f->grid_y, f->p.rows, f->p.grid_step);
    depthd_fill_axis(&f->cell_x, f->p.columns * f->p.cell_px, f->p.columns);
    depthd_fill_axis(&f->cell_y, f->p.rows * f->p.cell_px, f->p.rows);
    return f;
}

void depthd_fusion_destroy(DepthdFusion *f)
{
    if (!f) return;
    void *const planes[] = {f->small, f->x, f->row_scratch, f->grid_scratch, f->smooth_row, f->cells.fill, f->cells.rho,
                            f->cells.variance, f->cells.x, f->cells.x_all, f->cells.usable, f->level, f->sample_cell, f->bin,
                            f->correction, f->support, f->alignment.correction, f->alignment.rim_share, f->alignment.sigma,
                            f->own.x, f->own.rho, f->own.weight, f->sample_calm, f->trust, f->error, f->bin_weight,
                            f->cell_weight, f->cell_error, f->scratch};
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++) free(planes[i]);
    free_axis(&f->mono_x);
    free_axis(&f->mono_y);
    free_axis(&f->cell_x);
    free_axis(&f->cell_y);
    free_axis(&f->grid_x);
    free_axis(&f->grid_y);
    free_grid(&f->evidence);
    free_grid(&f->smooth);
    free_grid(&f->memory.evidence);
    free(f);
}

void depthd_fusion_reset(DepthdFusion *f)
{
    depthd_forget_scene(&f->memory, f->node_count);
    f->memory.has_line = false;
    f->memory.age_frames = 0;
}

/* The line of this frame, if it is good enough to be published. */
static bool fresh_line(DepthdFusion *f, double end, DepthdLine *line)
{
    double buffer[3][DEPTHD_MEMORY_BINS];
    Memory *memory = &f->memory;
    DepthdLine start;
    if (!depthd_consensus(f, end, memory->has_line ? &memory->line : NULL, &start)) return false;
    Samples earlier = depthd_remembered(memory, buffer);
    if (depthd_contradicts(&earlier, &start, DEPTHD_CUT_SHARE, end, &f->p)) {
        depthd_forget_scene(memory, f->node_count);
        earlier.count = 0;
    }
    *line = depthd_fit_line(f, &earlier, end, start, DEPTHD_FIT_ITERATIONS);
    if (!depthd_acceptable(line, &f->p)) return false;
    depthd_remember(memory, &f->own, end, line, &f->p);
    return true;
}

/* A new line; or the last one until it is too old, unless this frame speaks against it; or none. */
static int update_line(DepthdFusion *f, double end)
{
    Memory *memory = &f->memory;
    DepthdLine line;
    if (fresh_line(f, end, &line)) {
        memory->line = line;
        memory->has_line = true;
        memory->age_frames = 0;
        return DEPTHD_FIT_FITTED;
    }
    memory->age_frames++;
    if (memory->age_frames > f->p.maximum_age_frames) memory->has_line = false;
    if (!memory->has_line || depthd_contradicts(&f->own, &memory->line, f->p.minimum_inlier_share, end, &f->p))
        return DEPTHD_FIT_UNFIT;
    return DEPTHD_FIT_HELD;
}

int depthd_fusion_fuse(DepthdFusion *f, const float *stereo_m, const float *mono, int mono_height, int mono_width,
                       float *depth_m, uint8_t *source, uint16_t *sigma, DepthdFusionResult *result)
{
    if (!depthd_take_mono(f, mono, mono_height, mono_width)) return -1;
    depthd_summarise(f, stereo_m);
    const double end = depthd_select_usable(f);
    const int status = update_line(f, end);
    Memory *memory = &f->memory;
    if (status == DEPTHD_FIT_FITTED) memory->aligned = depthd_align(f, end, memory->line, true);
    if (status == DEPTHD_FIT_HELD) depthd_align(f, end, memory->aligned, false);
    const bool fitted = status != DEPTHD_FIT_UNFIT;
    depthd_merge(f, stereo_m, fitted ? &memory->aligned : NULL, depth_m, source, sigma, result->pixels_per_source);

    const DepthdLine none = {.scale = NAN, .shift = NAN, .noise = NAN, .pearson_r = NAN};
    result->line = fitted ? memory->line : none;
    result->status = status;
    result->sample_count = f->own.count;
    result->age_frames = memory->age_frames;
    return 0;
}
