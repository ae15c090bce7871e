/* 1. Mask and sample: mono at every pixel, and one value per cell. */
#include "fusion_internal.h"

#include <omp.h>

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

DEPTHD_WIDE void depthd_lerp_rows(const float *lower, const float *upper, float part, int count, float *out)
{
    for (int i = 0; i < count; i++) out[i] = lower[i] + (upper[i] - lower[i]) * part;
    out[count] = out[count - 1]; /* so that the upper neighbour of the last value exists */
}

DEPTHD_WIDE void depthd_upsample_row(const float *small_row, const Axis *axis, int count, float *out)
{
    const int *restrict index = axis->index;
    const float *restrict part = axis->part;
    for (int i = 0; i < count; i++) {
        const float lower = small_row[index[i]], upper = small_row[index[i] + 1];
        out[i] = lower + (upper - lower) * part[i];
    }
}

bool depthd_take_mono(DepthdFusion *f, const float *mono, int height, int width)
{
    const int count = height * width;
    if (height != f->small_height || width != f->small_width) {
        float *small = realloc(f->small, sizeof(float) * (size_t)count);
        if (!small) return false;
        f->small = small;
        const size_t row = (size_t)(width > f->p.columns ? width : f->p.columns) + 1;
        f->row_scratch_size = (8 * (size_t)f->p.width + row + 16) & ~(size_t)1; /* even, so that doubles are aligned */
        float *scratch = realloc(f->row_scratch, sizeof(float) * f->row_scratch_size * (size_t)f->threads);
        if (!scratch) return false;
        f->row_scratch = scratch;
        f->small_height = height;
        f->small_width = width;
        depthd_fill_axis(&f->mono_x, f->p.width, width);
        depthd_fill_axis(&f->mono_y, f->p.height, height);
    }
    for (int i = 0; i < count; i++) f->small[i] = depthd_mono_as_linear(mono[i], f->p.mono_kind);
    return true;
}

/* Column sums over the rows of one band of cells. The variance is a small difference of large sums, so those are doubles. */
typedef struct Sums {
    double *restrict rho, *restrict rho_squared;
    float *restrict count, *restrict x, *restrict known, *restrict x_all;
} Sums;

DEPTHD_WIDE static void add_row(const float *restrict stereo_m, const float *restrict x, int width, float nearest_m,
                                float farthest_m, Sums sums)
{
    for (int i = 0; i < width; i++) {
        const float known = x[i] == x[i] ? 1.0f : 0.0f;
        const float value = x[i] == x[i] ? x[i] : 0.0f;
        const float measured = (stereo_m[i] >= nearest_m) & (stereo_m[i] <= farthest_m) ? known : 0.0f;
        const float rho = measured > 0.0f ? 1.0f / stereo_m[i] : 0.0f;
        sums.count[i] += measured;
        sums.rho[i] += rho;
        sums.rho_squared[i] += (double)rho * rho;
        sums.x[i] += measured * value;
        sums.known[i] += known;
        sums.x_all[i] += value;
    }
}

static void reduce_cells(const DepthdFusion *f, int cell_row, int band_rows, Sums sums)
{
    const DepthdFusionParameters *p = &f->p;
    for (int c = 0; c < p->columns; c++) {
        const int first = c * p->cell_px;
        const int last = first + p->cell_px < p->width ? first + p->cell_px : p->width;
        double count = 0, rho = 0, rho_squared = 0, x = 0, known = 0, x_all = 0;
        for (int i = first; i < last; i++) {
            count += sums.count[i];
            rho += sums.rho[i];
            rho_squared += sums.rho_squared[i];
            x += sums.x[i];
            known += sums.known[i];
            x_all += sums.x_all[i];
        }
        const double safe = count > 1 ? count : 1, mean = rho / safe;
        const double variance = rho_squared / safe - mean * mean;
        const int cell = cell_row * p->columns + c;
        f->cells.fill[cell] = (float)(count / ((double)band_rows * (last - first)));
        f->cells.rho[cell] = (float)mean;
        f->cells.variance[cell] = (float)(variance > 0 ? variance : 0);
        f->cells.x[cell] = (float)(x / safe);
        f->cells.x_all[cell] = (float)(x_all / (known > 1 ? known : 1));
    }
}

void depthd_summarise(DepthdFusion *f, const float *stereo_m)
{
    const DepthdFusionParameters *p = &f->p;
    const float nearest_m = (float)(1.0 / p->stereo_inverse_maximum), farthest_m = (float)(1.0 / p->stereo_inverse_minimum);
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int cell_row = 0; cell_row < p->rows; cell_row++) {
        float *scratch = f->row_scratch + f->row_scratch_size * (size_t)omp_get_thread_num();
        const size_t width = (size_t)p->width;
        float *singles = scratch + 4 * width, *small_row = scratch + 8 * width;
        const Sums sums = {(double *)scratch, (double *)scratch + width, singles, singles + width, singles + 2 * width,
                           singles + 3 * width};
        memset(scratch, 0, sizeof(float) * 8 * width);
        const int first = cell_row * p->cell_px;
        const int last = first + p->cell_px < p->height ? first + p->cell_px : p->height;
        for (int y = first; y < last; y++) {
            const int lower = f->mono_y.index[y], upper = lower + 1 < f->small_height ? lower + 1 : lower;
            float *x = f->x + (size_t)y * width;
            depthd_lerp_rows(f->small + (size_t)lower * f->small_width, f->small + (size_t)upper * f->small_width,
                             f->mono_y.part[y], f->small_width, small_row);
            depthd_upsample_row(small_row, &f->mono_x, p->width, x);
            add_row(stereo_m + (size_t)y * width, x, p->width, nearest_m, farthest_m, sums);
        }
        reduce_cells(f, cell_row, last - first, sums);
    }
}

/* Weight of each sample: crowded ranges of x count less, so that a far wall does not outvote a near hand. */
static void balance(DepthdFusion *f)
{
    const Samples *s = &f->own;
    if (s->count == 0) return;
    double low = s->x[0], high = s->x[0];
    for (int i = 1; i < s->count; i++) {
        low = s->x[i] < low ? s->x[i] : low;
        high = s->x[i] > high ? s->x[i] : high;
    }
    const double bins_per_x = DEPTHD_BALANCE_BINS / (high - low > 1e-12 ? high - low : 1e-12);
    int counts[DEPTHD_BALANCE_BINS] = {0};
    for (int i = 0; i < s->count; i++) {
        const int bin = (int)((s->x[i] - low) * bins_per_x);
        f->bin[i] = bin < DEPTHD_BALANCE_BINS ? bin : DEPTHD_BALANCE_BINS - 1;
        counts[f->bin[i]]++;
    }
    double factor[DEPTHD_BALANCE_BINS];
    const double floor = DEPTHD_BALANCE_FLOOR * s->count, mean = (double)s->count / DEPTHD_BALANCE_BINS;
    for (int b = 0; b < DEPTHD_BALANCE_BINS; b++) factor[b] = 1.0 / sqrt((counts[b] > floor ? counts[b] : floor) / mean);
    for (int i = 0; i < s->count; i++) s->weight[i] = f->sample_calm[i] * factor[f->bin[i]];
}

/* Marks the cells that may enter the fit and lists them; returns the end of the range that stereo can measure. */
double depthd_select_usable(DepthdFusion *f)
{
    Cells *cells = &f->cells;
    double largest = 0.0;
    for (int i = 0; i < f->cell_count; i++)
        if (cells->fill[i] >= DEPTHD_MINIMUM_FILL && cells->rho[i] > largest) largest = cells->rho[i];
    const double end = DEPTHD_RANGE_END * largest;
    int count = 0;
    for (int i = 0; i < f->cell_count; i++) {
        cells->usable[i] = cells->fill[i] >= DEPTHD_MINIMUM_FILL && cells->rho[i] < end;
        if (!cells->usable[i]) continue;
        f->sample_calm[count] = depthd_calm(cells->fill[i], cells->variance[i], f->p.stereo_noise);
        f->own.x[count] = cells->x[i];
        f->own.rho[count] = cells->rho[i];
        f->sample_cell[count++] = i;
    }
    f->own.count = count;
    balance(f);
    return end;
}
