/* 1. Mask and sample: one value per cell. A block takes a span of cells of one row; a thread one column of pixels. */
#pragma once

enum {
    CELL_THREADS = 256,
    CELL_SPAN = CELL_PX < CELL_THREADS ? CELL_THREADS / CELL_PX : 1, /* cells of a block */
    CELL_SPAN_PX = CELL_SPAN * CELL_PX,
    CELL_BLOCKS_PER_ROW = (COLUMNS + CELL_SPAN - 1) / CELL_SPAN,
};
constexpr int ROWS_AT_ONCE = CELL_PX < 16 ? CELL_PX : 8;

/* Sums over a column of pixels. The inverse depths are counted from the first one, so that their squares stay small. */
struct ColumnSums {
    float origin, rho, rho_squared, x, x_all;
    int measured, known;
};

__device__ __forceinline__ ColumnSums sum_column(const float *stereo_m, const float *mono, int mono_height, int mono_width,
                                                 const Place *mono_x, const Place *mono_y, const Settings *p, int px,
                                                 int first_row)
{
    const float nearest_m = (float)(1.0 / p->stereo_inverse_maximum), farthest_m = (float)(1.0 / p->stereo_inverse_minimum);
    const int kind = p->mono_kind;
    const Place across = mono_x[px];
    ColumnSums sums = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0, 0};
#pragma unroll ROWS_AT_ONCE
    for (int row = 0; row < CELL_PX; row++) {
        const int y = first_row + row;
        if (y >= HEIGHT) break;
        const float depth_m = stereo_m[(size_t)y * WIDTH + px];
        const Place down = mono_y[y];
        const float *lower = mono + (size_t)down.index * mono_width;
        const float x = mono_at(lower, down.index + 1 < mono_height ? lower + mono_width : lower, down.part, across,
                                mono_width, kind);
        if (x != x) continue;
        sums.known++;
        sums.x_all += x;
        if (!(depth_m >= nearest_m && depth_m <= farthest_m)) continue;
        const float rho = __frcp_rn(depth_m);
        if (sums.measured++ == 0) sums.origin = rho;
        const float above = rho - sums.origin;
        sums.rho += above;
        sums.rho_squared += above * above;
        sums.x += x;
    }
    return sums;
}

/* Mean and variance of a cell, from the columns' own: Chan, Golub and LeVeque, The American Statistician 37 (1983). */
__device__ __forceinline__ void store_cell(const ColumnSums *columns, int count, int band_rows, Cells *cells, int cell)
{
    int measured = 0, known = 0;
    double rho = 0.0, x = 0.0, x_all = 0.0, squares = 0.0;
    for (int i = 0; i < count; i++) {
        const ColumnSums s = columns[i];
        measured += s.measured;
        known += s.known;
        rho += (double)s.origin * s.measured + s.rho;
        x += s.x;
        x_all += s.x_all;
    }
    const double safe = measured > 1 ? measured : 1, mean = rho / safe;
    for (int i = 0; i < count; i++) {
        const ColumnSums s = columns[i];
        const double away = s.origin - mean;
        squares += s.rho_squared + 2.0 * away * s.rho + away * away * s.measured;
    }
    cells->fill[cell] = (float)measured / (float)(band_rows * count);
    cells->rho[cell] = (float)mean;
    cells->variance[cell] = (float)(squares > 0.0 ? squares / safe : 0.0);
    cells->x[cell] = (float)(x / safe);
    cells->x_all[cell] = (float)(x_all / (known > 1 ? known : 1));
}

extern "C" __global__ void __launch_bounds__(CELL_THREADS) fusion_cells(
    const float *__restrict__ stereo_m, const float *__restrict__ mono, int mono_height, int mono_width,
    const Place *__restrict__ mono_x, const Place *__restrict__ mono_y, const Settings *__restrict__ p, State *state,
    Cells *cells)
{
    __shared__ ColumnSums columns[CELL_SPAN_PX];
    const int cell_row = blockIdx.x / CELL_BLOCKS_PER_ROW, first_cell = blockIdx.x % CELL_BLOCKS_PER_ROW * CELL_SPAN;
    const int first_row = cell_row * CELL_PX, first_px = first_cell * CELL_PX;
    for (int i = threadIdx.x; i < CELL_SPAN_PX && first_px + i < WIDTH; i += CELL_THREADS)
        columns[i] =
            sum_column(stereo_m, mono, mono_height, mono_width, mono_x, mono_y, p, first_px + i, first_row);
    __syncthreads();
    unsigned int largest = 0;
    for (int c = threadIdx.x; c < CELL_SPAN && first_cell + c < COLUMNS; c += CELL_THREADS) {
        const int left = WIDTH - (first_px + c * CELL_PX), rows = HEIGHT - first_row;
        const int cell = cell_row * COLUMNS + first_cell + c;
        store_cell(columns + c * CELL_PX, left < CELL_PX ? left : CELL_PX, rows < CELL_PX ? rows : CELL_PX, cells, cell);
        if (cells->fill[cell] >= (float)DEPTHD_MINIMUM_FILL)
            largest = max(largest, __float_as_uint(cells->rho[cell])); /* of positive floats, the bits are in order */
    }
    largest = __reduce_max_sync(0xFFFFFFFFu, largest);
    if (threadIdx.x % 32 == 0 && largest) atomicMax(&state->largest, largest);
}
