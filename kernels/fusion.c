/* The steps in their order, and the memory they work in. */
#include "fusion_internal.h"

#include <unistd.h>

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

/* Where the centre of each cell lies between the nodes of the alignment grid, of which neighbours lie `stride` apart. */
static void fill_grid_axis(Axis *axis, int count, double grid_step, int stride)
{
    for (int i = 0; i < count; i++) {
        const double position = (i + 0.5) / grid_step;
        axis->index[i] = (int)position * stride;
        axis->part[i] = (float)(position - (int)position);
    }
}

/* What has one value per cell or sample. */
static bool allocate_cells(DepthdFusion *f)
{
    float **const floats[] = {&f->cells.fill, &f->cells.rho, &f->cells.variance, &f->cells.x, &f->cells.x_all,
                              &f->cells.x_range, &f->alignment.blur, &f->sample_x_all, &f->sample_right, &f->sample_correction, &f->level, &f->correction,
                              &f->alignment.correction, &f->alignment.rim_share, &f->alignment.sigma,
                              &f->alignment.near_claim, &f->alignment.far_claim, &f->memory.predicted};
    double **const doubles[] = {&f->own.x, &f->own.rho, &f->own.weight, &f->calm, &f->flat_rho, &f->trust, &f->error,
                                &f->bin_weight, &f->place};
    int **const integers[] = {&f->sample_cell, &f->sample_node, &f->bin};
    const size_t count = (size_t)f->cell_count;
    bool good = (f->rim = zeros(count, sizeof(Rim))) != NULL;
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) good &= (*floats[i] = zeros(count, sizeof(float))) != NULL;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++) good &= (*doubles[i] = zeros(count, sizeof(double))) != NULL;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) good &= (*integers[i] = zeros(count, sizeof(int))) != NULL;
    return good;
}

static bool allocate_grid(DepthdFusion *f)
{
    const size_t nodes = (size_t)f->node_count, flat = (size_t)f->p.grid_rows * f->p.grid_columns;
    f->evidence = zeros(nodes, sizeof(Node));
    f->memory.evidence = zeros(nodes, sizeof(Node));
    f->grid_scratch = zeros(4 * nodes + 4 * flat, sizeof(double));
    f->node_correction = zeros(nodes, sizeof(float));
    return f->evidence && f->memory.evidence && f->grid_scratch && f->node_correction &&
           allocate_axis(&f->grid_x, f->p.columns) && allocate_axis(&f->grid_y, f->p.rows);
}

static bool allocate_parts(DepthdFusion *f)
{
    f->parts = zeros(DEPTHD_PARTS, sizeof(Part));
    if (!f->parts) return false;
    bool good = true;
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        Part *part = &f->parts[k];
        part->first_row = f->p.rows * k / DEPTHD_PARTS;
        part->last_row = f->p.rows * (k + 1) / DEPTHD_PARTS;
        part->first = part->first_row * f->p.columns;
        good &= (part->evidence = zeros((size_t)f->node_count, sizeof(Node))) != NULL;
    }
    return good;
}

static bool allocate_rows(DepthdFusion *f)
{
    const size_t rows = (size_t)f->p.rows;
    f->row_largest = zeros(rows, sizeof(float));
    f->row_first = zeros(rows, sizeof(int));
    f->row_count = zeros(rows, sizeof(int));
    f->row_sources = zeros(rows, sizeof *f->row_sources);
    f->wide_correction = zeros(rows * (size_t)f->p.width, sizeof(float));
    return f->row_largest && f->row_first && f->row_count && f->row_sources && f->wide_correction;
}

DepthdFusion *depthd_fusion_create(const DepthdFusionParameters *parameters)
{
    DepthdFusion *f = zeros(1, sizeof *f);
    if (!f) return NULL;
    f->p = *parameters;
    f->threads = parameters->threads > 0 ? parameters->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
    f->cell_count = f->p.rows * f->p.columns;
    f->node_count = f->p.grid_rows * f->p.grid_columns * DEPTHD_GRID_LEVELS;
    bool good = allocate_axis(&f->mono_x, f->p.width) && allocate_axis(&f->mono_y, f->p.height);
    good &= allocate_axis(&f->cell_x, f->p.width + f->p.cell_px) && allocate_axis(&f->cell_y, f->p.height + f->p.cell_px);
    good &= allocate_cells(f) && allocate_grid(f) && allocate_parts(f) && allocate_rows(f);
    good &= (f->team = depthd_team_create(f->threads)) != NULL;
    if (!good) {
        depthd_fusion_destroy(f);
        return NULL;
    }
    fill_grid_axis(&f->grid_x, f->p.columns, f->p.grid_step, DEPTHD_GRID_LEVELS);
    fill_grid_axis(&f->grid_y, f->p.rows, f->p.grid_step, 1);
    depthd_fill_axis(&f->cell_x, f->p.columns * f->p.cell_px, f->p.columns);
    depthd_fill_axis(&f->cell_y, f->p.rows * f->p.cell_px, f->p.rows);
    return f;
}

void depthd_fusion_destroy(DepthdFusion *f)
{
    if (!f) return;
    depthd_team_destroy(f->team);
    for (int k = 0; f->parts && k < DEPTHD_PARTS; k++) free(f->parts[k].evidence);
    void *const planes[] = {f->wide, f->row_scratch, f->cells.fill, f->cells.rho, f->cells.variance, f->cells.x,
                            f->cells.x_all, f->cells.x_range, f->alignment.blur, f->row_largest, f->parts, f->own.x, f->own.rho, f->own.weight, f->row_first,
                            f->row_count, f->sample_cell, f->sample_node, f->bin, f->sample_x_all, f->sample_right,
                            f->sample_correction, f->level, f->calm, f->flat_rho, f->trust, f->error, f->bin_weight, f->place,
                            f->evidence, f->memory.evidence, f->grid_scratch, f->node_correction,
                            f->correction, f->rim, f->wide_correction, f->alignment.correction, f->alignment.rim_share,
                            f->alignment.sigma, f->alignment.near_claim, f->alignment.far_claim, f->memory.x,
                            f->memory.predicted, f->row_sources};
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++) free(planes[i]);
    Axis *const axes[] = {&f->mono_x, &f->mono_y, &f->cell_x, &f->cell_y, &f->grid_x, &f->grid_y};
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) free_axis(axes[i]);
    free(f);
}

void depthd_fusion_reset(DepthdFusion *f)
{
    depthd_forget_scene(&f->memory, f->node_count);
    f->memory.has_line = false;
    f->memory.has_x = false;
    f->memory.age_frames = 0;
    f->memory.softening = 0.0;
}

/* The line of this frame, if it is good enough to be published. */
static bool fresh_line(DepthdFusion *f, DepthdLine *line)
{
    double buffer[3][DEPTHD_MEMORY_BINS];
    Memory *memory = &f->memory;
    DepthdLine start;
    if (!depthd_consensus(f, memory->has_line ? &memory->line : NULL, &start)) return false;
    Samples earlier = depthd_remembered(memory, buffer);
    if (depthd_agreeing_share(&earlier, &start, f->scene) < DEPTHD_CUT_SHARE) {
        depthd_forget_scene(memory, f->node_count);
        earlier.count = 0;
    }
    *line = depthd_fit_line(f, f->own.rho, &earlier, start, DEPTHD_FIT_ITERATIONS);
    *line = depthd_judged(f, f->own.rho, *line);
    if (!depthd_acceptable(line, depthd_agreement(f, line), &f->p)) return false;
    depthd_remember(f, line);
    return true;
}

/* A new line; or the last one until it is too old, unless this frame speaks against it; or none. */
static int update_line(DepthdFusion *f)
{
    Memory *memory = &f->memory;
    DepthdLine line;
    if (fresh_line(f, &line)) {
        memory->line = line;
        memory->has_line = true;
        memory->age_frames = 0;
        return DEPTHD_FIT_FITTED;
    }
    memory->age_frames++;
    if (memory->age_frames > f->p.maximum_age_frames) memory->has_line = false;
    if (!memory->has_line || depthd_agreeing_share_of_frame(f, &memory->line) < f->p.minimum_inlier_share)
        return DEPTHD_FIT_UNFIT;
    return DEPTHD_FIT_HELD;
}

int depthd_fusion_fuse(DepthdFusion *f, const float *stereo_m, const float *mono, int mono_height, int mono_width,
                       float *depth_m, uint8_t *source, uint16_t *sigma, DepthdFusionResult *result)
{
    depthd_team_open(f->team);
    if (!depthd_take_mono(f, mono, mono_height, mono_width)) {
        depthd_team_close(f->team);
        return -1;
    }
    depthd_summarise(f, stereo_m);
    depthd_select_usable(f);
    const int status = update_line(f);
    Memory *memory = &f->memory;
    if (status == DEPTHD_FIT_FITTED) memory->aligned = depthd_align(f, memory->line, true);
    if (status == DEPTHD_FIT_HELD) depthd_align(f, memory->aligned, false);
    const bool fitted = status != DEPTHD_FIT_UNFIT;
    depthd_merge(f, stereo_m, fitted ? &memory->aligned : NULL, depth_m, source, sigma, result->pixels_per_source);
    depthd_team_close(f->team);

    const DepthdLine none = {.scale = NAN, .shift = NAN, .noise = NAN, .pearson_r = NAN};
    result->line = fitted ? memory->line : none;
    result->status = status;
    result->sample_count = f->own.count;
    result->age_frames = memory->age_frames;
    return 0;
}
