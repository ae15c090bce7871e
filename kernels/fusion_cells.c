/* 1. Mask and sample: mono as wide as the picture, one value per cell, and the cells that may enter the fit. */
#include "fusion_internal.h"

enum { MONO_ROWS_OF_A_PART = 8 };

void depthd_fill_axis(Axis *axis, int size, int small_size)
{
    const double step = (double)small_size / size;
    for (int i = 0; i < size; i++) {
        double position = (i + 0.5) * step - 0.5;
        position = position < 0.0 ? 0.0 : position > small_size - 1 ? small_size - 1 : position;
        axis->index[i] = (int)position;
        axis->part[i] = (float)(position - (int)position);
    }
}

/* small_row has one more value than its width, so that the last one has an upper neighbour. */
DEPTHD_WIDE void depthd_upsample_row(const float *small_row, const Axis *axis, int count, float *out)
{
    const int *restrict index = axis->index;
    const float *restrict part = axis->part;
    for (int i = 0; i < count; i++) {
        const float lower = small_row[index[i]], upper = small_row[index[i] + 1];
        out[i] = lower + (upper - lower) * part[i];
    }
}

typedef struct Widening {
    DepthdFusion *f;
    const float *mono;
} Widening;

/* Takes the flicker out of a row of mono, judged by the line of the frame before, and remembers it. */
DEPTHD_WIDE static void steady_mono(const DepthdFusion *f, float *restrict x, float *restrict before)
{
    const Memory *memory = &f->memory;
    if (!memory->has_line || !memory->has_x) {
        memcpy(before, x, sizeof(float) * (size_t)f->small_width);
        return;
    }
    const float scale = (float)memory->aligned.scale, shift = (float)memory->aligned.shift;
    const float lowest = (float)f->p.inverse_minimum, softening = (float)memory->softening;
    const float decay = (float)f->p.mono_decay;
    for (int i = 0; i < f->small_width; i++) {
        const float line_value = scale * x[i] + shift, unit = (line_value > lowest ? line_value : lowest) + softening;
        x[i] = before[i] = depthd_steady(x[i], before[i], unit / scale, decay);
    }
}

/* Mono's rows are stretched to the picture's width once; between them, each pass over the pixels interpolates as it goes. */
static void widen(void *context, int part, int worker)
{
    const Widening *job = context;
    DepthdFusion *f = job->f;
    float *linear = depthd_scratch_of(f, worker);
    const int width = f->small_width, first = part * MONO_ROWS_OF_A_PART;
    for (int row = first; row < depthd_smaller(first + MONO_ROWS_OF_A_PART, f->small_height); row++) {
        const float *mono = job->mono + (size_t)row * width;
        for (int i = 0; i < width; i++) linear[i] = depthd_mono_as_linear(mono[i], f->p.mono_kind);
        steady_mono(f, linear, f->memory.x + (size_t)row * width);
        linear[width] = linear[width - 1];
        depthd_upsample_row(linear, &f->mono_x, f->p.width, f->wide + (size_t)row * f->p.width);
    }
}

/* Memory for mono of this size. */
static bool prepare_mono(DepthdFusion *f, int height, int width)
{
    if (height == f->small_height && width == f->small_width) return true;
    float *wide = realloc(f->wide, sizeof(float) * (size_t)height * f->p.width);
    if (!wide) return false;
    f->wide = wide;
    float *x = realloc(f->memory.x, sizeof(float) * (size_t)height * width);
    if (!x) return false;
    f->memory.x = x;
    f->memory.has_x = false;
    const size_t row = (size_t)(width > f->p.columns ? width : f->p.columns) + 1;
    const size_t nodes = (size_t)f->p.grid_columns * DEPTHD_GRID_LEVELS;
    const size_t rims = 2 * sizeof(Rim) / sizeof(float) * (size_t)f->p.columns;
    const size_t size = (10 * ((size_t)f->p.width + 16) + rims + row + nodes) & ~(size_t)15; /* whole cache lines */
    float *scratch = aligned_alloc(64, sizeof(float) * size * (size_t)f->threads);
    if (!scratch) return false;
    free(f->row_scratch);
    f->row_scratch = scratch;
    f->row_scratch_size = size;
    f->small_height = height;
    f->small_width = width;
    depthd_fill_axis(&f->mono_x, f->p.width, width);
    depthd_fill_axis(&f->mono_y, f->p.height, height);
    return true;
}

bool depthd_take_mono(DepthdFusion *f, const float *mono, int height, int width)
{
    if (!prepare_mono(f, height, width)) return false;
    Widening job = {f, mono};
    depthd_team_share(f->team, (height + MONO_ROWS_OF_A_PART - 1) / MONO_ROWS_OF_A_PART, widen, &job);
    f->memory.has_x = true;
    return true;
}

/* One row of pixels: stereo, and the two rows of mono that it lies between. */
typedef struct PixelRow {
    const float *stereo_m, *x_lower, *x_upper;
    float x_part;
} PixelRow;

/* Column sums and extremes over the rows of one band of cells. The variance is a small difference of large sums, so those are doubles. */
typedef struct Sums {
    double *rho, *rho_squared;
    float *count, *x, *known, *x_all, *x_lowest, *x_highest;
} Sums;

enum { LANES = 8 };
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float HalfLanes __attribute__((vector_size(2 * LANES)));
typedef double DoubleLanes __attribute__((vector_size(4 * LANES), aligned(8), may_alias)); /* half of the lanes */

/* Some values of a row; NaN, which counts nowhere, beyond the last one. */
static inline __attribute__((always_inline)) void load(const float *row, int count, Lanes *values)
{
    if (count == LANES) *values = *(const Lanes *)row;
    else for (int lane = 0; lane < LANES; lane++) (*values)[lane] = lane < count ? row[lane] : NAN;
}

#define WHERE(mask, values) ((Lanes)((Mask)(values) & (mask)))
#define EITHER(mask, values, others) ((Lanes)(((Mask)(values) & (mask)) | ((Mask)(others) & ~(mask))))

static inline __attribute__((always_inline)) void add_columns(const PixelRow *rows, int row_count, int first, int count,
                                                              float nearest_m, float farthest_m, Sums sums)
{
    const Lanes one = 1.0f - (Lanes){0};
    Lanes counted = {0}, x_measured = {0}, known_count = {0}, x_all = {0};
    Lanes x_lowest = INFINITY - (Lanes){0}, x_highest = -INFINITY - (Lanes){0};
    DoubleLanes rho[2] = {{0}, {0}}, rho_squared[2] = {{0}, {0}};
    for (int r = 0; r < row_count; r++) {
        Lanes lower, upper, depth_m;
        load(rows[r].x_lower + first, count, &lower);
        load(rows[r].x_upper + first, count, &upper);
        load(rows[r].stereo_m + first, count, &depth_m);
        const Lanes x = lower + (upper - lower) * rows[r].x_part;
        const Mask known = x == x, measured = known & (depth_m >= nearest_m) & (depth_m <= farthest_m);
        const Lanes inverse = WHERE(measured, one / depth_m);
        HalfLanes halves[2];
        memcpy(halves, &inverse, sizeof halves);
        const DoubleLanes left = __builtin_convertvector(halves[0], DoubleLanes);
        const DoubleLanes right = __builtin_convertvector(halves[1], DoubleLanes);
        counted += WHERE(measured, one);
        known_count += WHERE(known, one);
        x_measured += WHERE(measured, x);
        x_all += WHERE(known, x);
        x_lowest = EITHER(x < x_lowest, x, x_lowest);
        x_highest = EITHER(x > x_highest, x, x_highest);
        rho[0] += left;
        rho[1] += right;
        rho_squared[0] += left * left;
        rho_squared[1] += right * right;
    }
    *(Lanes *)(sums.count + first) = counted;
    *(Lanes *)(sums.known + first) = known_count;
    *(Lanes *)(sums.x + first) = x_measured;
    *(Lanes *)(sums.x_all + first) = x_all;
    *(Lanes *)(sums.x_lowest + first) = x_lowest;
    *(Lanes *)(sums.x_highest + first) = x_highest;
    for (int half = 0; half < 2; half++) {
        *(DoubleLanes *)(sums.rho + first + half * LANES / 2) = rho[half];
        *(DoubleLanes *)(sums.rho_squared + first + half * LANES / 2) = rho_squared[half];
    }
}

DEPTHD_WIDE static void add_rows(const PixelRow *rows, int row_count, int width, float nearest_m, float farthest_m, Sums sums)
{
    int first = 0;
    for (; first + LANES <= width; first += LANES) add_columns(rows, row_count, first, LANES, nearest_m, farthest_m, sums);
    if (first < width) add_columns(rows, row_count, first, width - first, nearest_m, farthest_m, sums);
}

static void reduce_cells(const DepthdFusion *f, int cell_row, int band_rows, Sums sums)
{
    const DepthdFusionParameters *p = &f->p;
    float largest = 0.0f;
    for (int c = 0; c < p->columns; c++) {
        const int first = c * p->cell_px, last = depthd_smaller(first + p->cell_px, p->width);
        double count = 0, rho = 0, rho_squared = 0, x = 0, known = 0, x_all = 0;
        float lowest = INFINITY, highest = -INFINITY;
        for (int i = first; i < last; i++) {
            count += sums.count[i];
            rho += sums.rho[i];
            rho_squared += sums.rho_squared[i];
            x += sums.x[i];
            known += sums.known[i];
            x_all += sums.x_all[i];
            lowest = sums.x_lowest[i] < lowest ? sums.x_lowest[i] : lowest;
            highest = sums.x_highest[i] > highest ? sums.x_highest[i] : highest;
        }
        const double safe = count > 1 ? count : 1, mean = rho / safe;
        const double variance = rho_squared / safe - mean * mean;
        const int cell = cell_row * p->columns + c;
        f->cells.fill[cell] = (float)(count / ((double)band_rows * (last - first)));
        f->cells.rho[cell] = (float)mean;
        f->cells.variance[cell] = (float)(variance > 0 ? variance : 0);
        f->cells.x[cell] = (float)(x / safe);
        f->cells.x_all[cell] = (float)(x_all / (known > 1 ? known : 1));
        f->cells.x_range[cell] = highest > lowest ? highest - lowest : 0.0f;
        if (f->cells.fill[cell] >= DEPTHD_MINIMUM_FILL && f->cells.rho[cell] > largest) largest = f->cells.rho[cell];
    }
    f->row_largest[cell_row] = largest;
}

typedef struct Summary {
    DepthdFusion *f;
    const float *stereo_m;
} Summary;

static void summarise_band(void *context, int cell_row, int worker)
{
    const Summary *job = context;
    const DepthdFusion *f = job->f;
    const DepthdFusionParameters *p = &f->p;
    const size_t width = (size_t)p->width, padded = (width + LANES - 1) / LANES * LANES;
    const float nearest_m = (float)(1.0 / p->stereo_inverse_maximum), farthest_m = (float)(1.0 / p->stereo_inverse_minimum);
    float *scratch = depthd_scratch_of(f, worker), *singles = scratch + 4 * padded;
    const Sums sums = {(double *)scratch, (double *)scratch + padded, singles, singles + padded, singles + 2 * padded,
                       singles + 3 * padded, singles + 4 * padded, singles + 5 * padded};
    const int first = cell_row * p->cell_px, last = depthd_smaller(first + p->cell_px, p->height);
    PixelRow rows[p->cell_px];
    for (int y = first; y < last; y++) {
        const int lower = f->mono_y.index[y], upper = depthd_smaller(lower + 1, f->small_height - 1);
        rows[y - first] = (PixelRow){job->stereo_m + (size_t)y * width, f->wide + (size_t)lower * width,
                                     f->wide + (size_t)upper * width, f->mono_y.part[y]};
    }
    add_rows(rows, last - first, p->width, nearest_m, farthest_m, sums);
    reduce_cells(f, cell_row, last - first, sums);
}

void depthd_summarise(DepthdFusion *f, const float *stereo_m)
{
    Summary job = {f, stereo_m};
    depthd_team_share(f->team, f->p.rows, summarise_band, &job);
}

typedef struct Selection {
    DepthdFusion *f;
    double end;
    double x_low, bins_per_x;
    double factor[DEPTHD_BALANCE_BINS];
} Selection;

/* Lists the usable cells of a row behind those of the rows before. */
static int select_row(DepthdFusion *f, int row, int count, double end)
{
    const int columns = f->p.columns;
    const Cells *cells = &f->cells;
    for (int column = 0, cell = row * columns; column < columns; column++, cell++) {
        f->own.x[count] = cells->x[cell];
        f->own.rho[count] = cells->rho[cell];
        f->calm[count] = depthd_calm(cells->fill[cell], cells->variance[cell], f->p.stereo_noise);
        f->sample_x_all[count] = cells->x_all[cell];
        f->sample_node[count] = f->grid_x.index[column];
        f->sample_right[count] = f->grid_x.part[column];
        f->sample_cell[count] = cell;
        count += cells->fill[cell] >= DEPTHD_MINIMUM_FILL && cells->rho[cell] < end; /* else the next one takes its place */
    }
    return count;
}

static void select_part(void *context, int number, int worker)
{
    (void)worker;
    const Selection *job = context;
    DepthdFusion *f = job->f;
    Part *part = &f->parts[number];
    int count = part->first;
    for (int row = part->first_row; row < part->last_row; row++) {
        f->row_first[row] = count;
        count = select_row(f, row, count, job->end);
        f->row_count[row] = count - f->row_first[row];
    }
    part->count = count - part->first;
    part->x_low = INFINITY;
    part->x_high = -INFINITY;
    part->x_sum = part->rho_sum = 0.0;
    for (int i = part->first; i < count; i++) {
        const double x = f->own.x[i];
        part->x_low = x < part->x_low ? x : part->x_low;
        part->x_high = x > part->x_high ? x : part->x_high;
        part->x_sum += x;
        part->rho_sum += f->own.rho[i];
    }
}

static void count_crowds(void *context, int number, int worker)
{
    (void)worker;
    const Selection *job = context;
    DepthdFusion *f = job->f;
    Part *part = &f->parts[number];
    memset(part->crowd, 0, sizeof part->crowd);
    for (int i = part->first; i < part->first + part->count; i++) {
        const int bin = (int)((f->own.x[i] - job->x_low) * job->bins_per_x);
        f->bin[i] = depthd_smaller(bin, DEPTHD_BALANCE_BINS - 1);
        part->crowd[f->bin[i]]++;
    }
}

static void weigh(void *context, int number, int worker)
{
    (void)worker;
    const Selection *job = context;
    DepthdFusion *f = job->f;
    const Part *part = &f->parts[number];
    for (int i = part->first; i < part->first + part->count; i++) f->own.weight[i] = f->calm[i] * job->factor[f->bin[i]];
}

/* Weight of each sample: crowded ranges of x count less, so that a far wall does not outvote a near hand. */
static void balance(DepthdFusion *f, Selection *job)
{
    double low = INFINITY, high = -INFINITY;
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        low = f->parts[k].x_low < low ? f->parts[k].x_low : low;
        high = f->parts[k].x_high > high ? f->parts[k].x_high : high;
    }
    job->x_low = low;
    job->bins_per_x = DEPTHD_BALANCE_BINS / (high - low > 1e-12 ? high - low : 1e-12);
    depthd_team_share(f->team, DEPTHD_PARTS, count_crowds, job);
    const double floor = DEPTHD_BALANCE_FLOOR * f->own.count, mean = (double)f->own.count / DEPTHD_BALANCE_BINS;
    for (int b = 0; b < DEPTHD_BALANCE_BINS; b++) {
        int count = 0;
        for (int k = 0; k < DEPTHD_PARTS; k++) count += f->parts[k].crowd[b];
        job->factor[b] = 1.0 / sqrt((count > floor ? count : floor) / mean);
    }
    depthd_team_share(f->team, DEPTHD_PARTS, weigh, job);
}

/* Lists the cells that may enter the fit, and describes the scene by them. */
void depthd_select_usable(DepthdFusion *f)
{
    float largest = 0.0f;
    for (int row = 0; row < f->p.rows; row++) largest = f->row_largest[row] > largest ? f->row_largest[row] : largest;
    Selection job = {.f = f, .end = DEPTHD_RANGE_END * (double)largest};
    depthd_team_share(f->team, DEPTHD_PARTS, select_part, &job);
    double x_sum = 0.0, rho_sum = 0.0;
    f->own.count = 0;
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        f->own.count += f->parts[k].count;
        x_sum += f->parts[k].x_sum;
        rho_sum += f->parts[k].rho_sum;
    }
    f->x_origin = f->own.count ? x_sum / f->own.count : 0.0;
    f->rho_origin = f->own.count ? rho_sum / f->own.count : 0.0;
    if (f->own.count > 0) {
        balance(f, &job);
        f->memory.softening = DEPTHD_SOFTENING * f->rho_origin;
    }
    f->scene = (DepthdScene){job.end, f->memory.softening, f->p.stereo_noise, f->p.inverse_minimum};
}
