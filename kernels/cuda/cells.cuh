/* 1. Mask and sample: one value per cell. A block takes a span of cells of one row; a thread one column of pixels. */
#pragma once

enum {
    CELL_THREADS = 128,
    CELL_SPAN = CELL_PX < CELL_THREADS ? CELL_THREADS / CELL_PX : 1, /* cells of a block */
    CELL_SPAN_PX = CELL_SPAN * CELL_PX,
    CELL_BLOCKS_PER_ROW = (COLUMNS + CELL_SPAN - 1) / CELL_SPAN,
};
constexpr int ROWS_AT_ONCE = CELL_PX < 8 ? CELL_PX : 4;

/* Sums and extremes over a column of pixels. The inverse depths are counted from the first one, so that their squares stay small. */
struct ColumnSums {
    float origin, rho, rho_squared, x, x_all, x_lowest, x_highest;
    int measured, known;
};

__device__ __forceinline__ ColumnSums sum_column(const float *stereo_m, const float *mono, int mono_height, int mono_width,
                                                 const Place *mono_x, const Place *mono_y, const Settings *p, int px,
                                                 int first_row)
{
    const float nearest_m = (float)(1.0 / p->stereo_inverse_maximum), farthest_m = (float)(1.0 / p->stereo_inverse_minimum);
    const Place across = mono_x[px];
    ColumnSums sums = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, INFINITY, -INFINITY, 0, 0};
    for (int first = 0; first < CELL_PX; first += ROWS_AT_ONCE) {
        /* All loads first, so that they wait for memory together. */
        float depths_m[ROWS_AT_ONCE], xs[ROWS_AT_ONCE];
#pragma unroll
        for (int k = 0; k < ROWS_AT_ONCE; k++) {
            const int y = min(first_row + min(first + k, CELL_PX - 1), HEIGHT - 1);
            depths_m[k] = stereo_m[(size_t)y * WIDTH + px];
            const Place down = mono_y[y];
            const float *lower = mono + (size_t)down.index * mono_width;
            xs[k] = mono_at(lower, down.index + 1 < mono_height ? lower + mono_width : lower, down.part, across, mono_width);
        }
#pragma unroll
        for (int k = 0; k < ROWS_AT_ONCE; k++) {
            const float depth_m = depths_m[k], x = xs[k];
            const bool known = x == x && first + k < CELL_PX && first_row + first + k < HEIGHT;
            const bool measured = known && depth_m >= nearest_m && depth_m <= farthest_m;
            const float rho = __frcp_rn(depth_m);
            sums.known += known;
            sums.x_all += known ? x : 0.0f;
            sums.x_lowest = fminf(sums.x_lowest, known ? x : INFINITY);
            sums.x_highest = fmaxf(sums.x_highest, known ? x : -INFINITY);
            sums.origin = measured && sums.measured == 0 ? rho : sums.origin;
            const float above = measured ? rho - sums.origin : 0.0f;
            sums.measured += measured;
            sums.rho += above;
            sums.rho_squared += above * above;
            sums.x += measured ? x : 0.0f;
        }
    }
    return sums;
}

/* The same of all columns of a block, so laid out that threads of different cells do not hinder each other. */
struct Columns {
    float origin[CELL_SPAN_PX], rho[CELL_SPAN_PX], rho_squared[CELL_SPAN_PX], x[CELL_SPAN_PX], x_all[CELL_SPAN_PX];
    float x_lowest[CELL_SPAN_PX], x_highest[CELL_SPAN_PX];
    int counts[CELL_SPAN_PX]; /* measured, known << 16 */
};

/* Adds up over the eight lanes of a cell. */
__device__ __forceinline__ float add_over_cell(float value)
{
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    return value;
}

__device__ __forceinline__ float largest_of_cell(float value)
{
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, offset));
    return value;
}

/* By eight lanes each: mean and variance of a cell, from the columns' own: Chan, Golub and LeVeque, The American
 * Statistician 37 (1983). `width` columns, none where there is no cell. Returns the mean where it was measured well. */
__device__ __forceinline__ float store_cell(const Columns &columns, int first, int width, int band_rows, Cells *cells, int cell)
{
    float measured = 0.0f, known = 0.0f, rho = 0.0f, x = 0.0f, x_all = 0.0f, x_lowest = INFINITY, x_highest = -INFINITY;
    const int lane = threadIdx.x % 8;
    const float origin = columns.origin[first + width / 2];
#pragma unroll
    for (int column = lane; column < CELL_PX; column += 8) {
        const int i = first + column;
        if (column >= width) continue;
        const float count = columns.counts[i] & 0xFFFF;
        measured += count;
        known += columns.counts[i] >> 16;
        rho += (columns.origin[i] - origin) * count + columns.rho[i];
        x += columns.x[i];
        x_all += columns.x_all[i];
        x_lowest = fminf(x_lowest, columns.x_lowest[i]);
        x_highest = fmaxf(x_highest, columns.x_highest[i]);
    }
    measured = add_over_cell(measured), known = add_over_cell(known);
    rho = add_over_cell(rho), x = add_over_cell(x), x_all = add_over_cell(x_all);
    x_lowest = -largest_of_cell(-x_lowest), x_highest = largest_of_cell(x_highest);
    const float share = 1.0f / fmaxf(measured, 1.0f), mean = measured > 0.0f ? origin + rho * share : 0.0f;
    float squares = 0.0f;
#pragma unroll
    for (int column = lane; column < CELL_PX; column += 8) {
        const int i = first + column;
        if (column >= width) continue;
        const float away = columns.origin[i] - mean;
        squares += columns.rho_squared[i] + away * (2.0f * columns.rho[i] + away * (columns.counts[i] & 0xFFFF));
    }
    squares = add_over_cell(squares);
    const float fill = width > 0 ? measured / (float)(band_rows * width) : 0.0f;
    if (lane == 0 && width > 0) {
        cells->fill[cell] = fill;
        cells->rho[cell] = mean;
        cells->variance[cell] = fmaxf(squares * share, 0.0f);
        cells->x[cell] = x * share;
        cells->x_all[cell] = x_all / fmaxf(known, 1.0f);
        cells->x_range[cell] = fmaxf(x_highest - x_lowest, 0.0f);
    }
    return fill >= (float)DEPTHD_MINIMUM_FILL ? mean : 0.0f;
}

extern "C" __global__ void __launch_bounds__(CELL_THREADS, 7) fusion_cells(
    const float *__restrict__ stereo_m, const float *__restrict__ mono, int mono_height, int mono_width,
    const Place *__restrict__ mono_x, const Place *__restrict__ mono_y, const Settings *__restrict__ p, State *state,
    Cells *cells)
{
    __shared__ Columns columns;
    let_next_begin();
    wait_for_last();
    const int cell_row = blockIdx.x / CELL_BLOCKS_PER_ROW, first_cell = blockIdx.x % CELL_BLOCKS_PER_ROW * CELL_SPAN;
    const int first_row = cell_row * CELL_PX, first_px = first_cell * CELL_PX;
    for (int i = threadIdx.x; i < CELL_SPAN_PX && first_px + i < WIDTH; i += CELL_THREADS) {
        const ColumnSums s =
            sum_column(stereo_m, mono, mono_height, mono_width, mono_x, mono_y, p, first_px + i, first_row);
        columns.origin[i] = s.origin;
        columns.rho[i] = s.rho;
        columns.rho_squared[i] = s.rho_squared;
        columns.x[i] = s.x;
        columns.x_all[i] = s.x_all;
        columns.x_lowest[i] = s.x_lowest;
        columns.x_highest[i] = s.x_highest;
        columns.counts[i] = s.measured | s.known << 16;
    }
    __syncthreads();
    float largest = 0.0f;
    for (int c = threadIdx.x / 8; c < (CELL_SPAN + 3) / 4 * 4; c += CELL_THREADS / 8) {
        const int left = WIDTH - (first_px + c * CELL_PX), rows = HEIGHT - first_row;
        const int width = c < CELL_SPAN && left > 0 ? min(left, (int)CELL_PX) : 0;
        const float rho = store_cell(columns, width > 0 ? c * CELL_PX : 0, width, min(rows, (int)CELL_PX), cells,
                                     cell_row * COLUMNS + first_cell + c);
        largest = fmaxf(largest, rho);
    }
    const unsigned int bits = __reduce_max_sync(0xFFFFFFFFu, __float_as_uint(largest)); /* of positive floats in order */
    if (threadIdx.x % 32 == 0 && bits) atomicMax(&state->largest, bits);
}
