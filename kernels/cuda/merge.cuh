/* 6. Judge stereo and merge, mono upsampled in the same pass. A block takes a span of cells of one row. The first blocks
 * have nothing to do with pixels: they remember this frame's inliers (4. Memory), one range of inverse depth each. */
#pragma once

enum {
    MERGE_THREADS = 256,
    MERGE_SPAN = CELL_PX >= 64 ? 4 : (256 / CELL_PX + 3) / 4 * 4, /* cells of a block; a multiple of 4 */
    MERGE_SPAN_PX = MERGE_SPAN * CELL_PX,
    MERGE_BLOCKS_PER_ROW = (COLUMNS + MERGE_SPAN - 1) / MERGE_SPAN,
    RIM = 2,                        /* cells that the binomial filter reaches */
    HALO = MERGE_SPAN + 2,          /* cells that pixels are interpolated between */
    REACH = HALO + 2 * RIM,
    QUADS_PER_ROW = MERGE_SPAN_PX / 4,
};

/* Adds up over a block, in a fixed order. */
__device__ __forceinline__ double add_over_block(double value, double *scratch)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    double sum = 0.0;
    for (int w = 0; w < MERGE_THREADS / 32; w++) sum += scratch[w];
    __syncthreads();
    return sum;
}

__device__ __forceinline__ DepthdScene scene_of(const State *state, const Settings *p)
{
    return {(float)state->end, (float)state->softening, (float)p->stereo_noise, (float)p->inverse_minimum};
}

/* Ages one bin of the memory and adds this frame's inliers to it. */
__device__ void remember_bin(const Settings *p, State *state, const Cells *cells, int bin)
{
    __shared__ double scratch[MERGE_THREADS / 32];
    const double scale = state->line.scale, shift = state->line.shift;
    const float noise = (float)state->line.noise, maximum = (float)p->inverse_maximum;
    const DepthdScene scene = scene_of(state, p);
    double weight = 0.0, x_sum = 0.0, rho_sum = 0.0;
    if (state->remember) {
        enum { AT_ONCE = 16 };
        for (int first = threadIdx.x; first < CELL_COUNT; first += AT_ONCE * MERGE_THREADS) {
            float rhos[AT_ONCE], xs[AT_ONCE], shares[AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int cell = first + k * MERGE_THREADS;
                rhos[k] = cell < CELL_COUNT ? cells->rho[cell] : 1.0f;
                xs[k] = cell < CELL_COUNT ? cells->x[cell] : 0.0f;
                shares[k] = cell < CELL_COUNT ? cells->weight[cell] : 0.0f;
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const float rho = rhos[k], x = xs[k];
                const int place = (int)(depthd_level(rho, scene.inverse_minimum, maximum) * DEPTHD_MEMORY_BINS);
                if (!(shares[k] > 0.0f) || min(place, DEPTHD_MEMORY_BINS - 1) != bin) continue;
                const float predicted = (float)(scale * x + shift);
                const float precision = 1.0f / depthd_variance(predicted, noise, scene);
                const float inside = depthd_inside(rho - predicted, precision, DEPTHD_TUKEY_FIT);
                if (!(inside > 0.0f && predicted < scene.end)) continue;
                const double inlier = shares[k] * inside * inside;
                weight += inlier;
                x_sum += inlier * x;
                rho_sum += inlier * rho;
            }
        }
        weight = add_over_block(weight, scratch);
        x_sum = add_over_block(x_sum, scratch);
        rho_sum = add_over_block(rho_sum, scratch);
    }
    if (threadIdx.x != 0) return;
    const double decay = state->forget ? 0.0 : state->remember ? p->memory_decay : 1.0;
    state->samples[0][bin] = decay * state->samples[0][bin] + weight;
    state->samples[1][bin] = decay * state->samples[1][bin] + x_sum;
    state->samples[2][bin] = decay * state->samples[2][bin] + rho_sum;
}

/* What the pixels of a span are interpolated from, or repeat. */
struct Span {
    float3 cells[3 + 2 * RIM][REACH], blurred[3][REACH]; /* trust * (error - correction), trust, calm */
    float correction[3][HALO];
    float sigma[MERGE_SPAN], rim_share[MERGE_SPAN], near_claim[MERGE_SPAN];
    unsigned int counts[6];
};

/* [1 4 6 4 1] / 16, nothing beyond the border at each of its two passes. */
__device__ __forceinline__ float3 binomial(const float3 *values, int stride, int place, int count)
{
    const float middle = (6 - (place == 0) - (place == count - 1)) * 0.0625f;
    const float3 a = values[0], b = values[stride], c = values[2 * stride], d = values[3 * stride], e = values[4 * stride];
    return make_float3(0.0625f * (a.x + e.x) + 0.25f * (b.x + d.x) + middle * c.x,
                       0.0625f * (a.y + e.y) + 0.25f * (b.y + d.y) + middle * c.y,
                       0.0625f * (a.z + e.z) + 0.25f * (b.z + d.z) + middle * c.z);
}

/* Bends the correction to the rim, and says how sure it is of each cell. */
__device__ __forceinline__ void prepare_span(Span *span, const State *state, const Settings *p, const Cells *cells,
                                             int cell_row, int first_cell)
{
    for (int i = threadIdx.x; i < (3 + 2 * RIM) * REACH; i += MERGE_THREADS) {
        const int row = cell_row - 1 - RIM + i / REACH, column = first_cell - 1 - RIM + i % REACH;
        const bool inside = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
        const float4 cell = inside ? cells->aligned[row * COLUMNS + column] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        span->cells[0][i] = make_float3(cell.z, cell.y, cell.w);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * REACH; i += MERGE_THREADS)
        span->blurred[0][i] = binomial(&span->cells[0][i], REACH, cell_row - 1 + i / REACH, ROWS);
    __syncthreads();
    const DepthdMergeParameters m = state->merge;
    for (int i = threadIdx.x; i < 3 * HALO; i += MERGE_THREADS) {
        const int band = i / HALO, place = i % HALO, row = cell_row - 1 + band, column = first_cell - 1 + place;
        const float3 rim = binomial(&span->blurred[band][place], 1, column, COLUMNS);
        const bool inside = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
        const int cell = row * COLUMNS + column;
        const float prior = (float)DEPTHD_RIM_PRIOR;
        const float correction = inside ? cells->aligned[cell].x : 0.0f;
        span->correction[band][place] = correction + rim.x / (rim.y + prior);
        if (band != 1 || !inside || place == 0 || place > MERGE_SPAN) continue;
        const float x = cells->x_all[cell];
        span->rim_share[place - 1] = rim.y / (rim.y + prior);
        span->near_claim[place - 1] = depthd_near_claim(rim.z, (float)p->near_claim_factor, (float)p->solid_claim_factor);
        span->sigma[place - 1] =
            depthd_cell_sigma(m.scale * x + m.shift, x - state->pivot, m.mono_noise, state->global_noise,
                              state->value_variance, state->scale_variance, scene_of(state, p));
    }
    if (threadIdx.x < 6) span->counts[threadIdx.x] = 0;
    __syncthreads();
}

/* Between the centres of cells: the lower neighbour, counted from the one before `cell`, and the part of the upper. */
__device__ __forceinline__ Place between_cells(int px_in_cell, int cell, int count)
{
    const float from_centre = (px_in_cell + 0.5f) * (1.0f / CELL_PX) - 0.5f;
    if (from_centre < 0.0f) return cell == 0 ? Place{1, 0.0f} : Place{0, from_centre + 1.0f};
    return cell == count - 1 ? Place{1, 0.0f} : Place{1, from_centre};
}

struct Picture {
    const float *stereo_m, *mono;
    const Place *mono_x, *mono_y;
    int mono_height, mono_width, kind;
    float *depth_m;
    uint8_t *source;
    uint16_t *sigma;
};

__device__ __forceinline__ DepthdPixel merge_one(const Picture &picture, const Span *span, const DepthdMergeParameters &m,
                                                 float stereo_m, const float *lower, const float *upper, float down,
                                                 Place row, int cell_column, int px, int first_px, bool fitted)
{
    const int place = (px - first_px) / CELL_PX;
    const Place column = between_cells((px - first_px) % CELL_PX, cell_column + place, COLUMNS);
    const float *above = span->correction[row.index] + place + column.index;
    const float *below = span->correction[row.index < 2 ? row.index + 1 : 2] + place + column.index;
    const float left = above[0] + (below[0] - above[0]) * row.part, right = above[1] + (below[1] - above[1]) * row.part;
    const float x =
        fitted ? mono_at(lower, upper, down, picture.mono_x[px], picture.mono_width, picture.kind) : NAN;
    return depthd_merge_pixel(stereo_m, x, left + (right - left) * column.part, span->sigma[place], span->rim_share[place],
                              span->near_claim[place], &m);
}

/* Counts of three sources in each of two numbers, ten bits apiece. */
__device__ __forceinline__ void count_source(unsigned int (&counts)[2], int source)
{
    counts[source / 3] += 1u << (source % 3 * 10);
}

__device__ __forceinline__ void flush_counts(Span *span, unsigned int (&counts)[2])
{
#pragma unroll
    for (int k = 0; k < 6; k++) {
        const unsigned int sum = __reduce_add_sync(0xFFFFFFFFu, counts[k / 3] >> (k % 3 * 10) & 1023u);
        if (threadIdx.x % 32 == k && sum) atomicAdd(&span->counts[k], sum);
    }
    counts[0] = counts[1] = 0;
}

/* Four pixels side by side, as far as they lie in the picture. */
__device__ __forceinline__ void merge_quad(const Picture &picture, const Span *span, const DepthdMergeParameters &m, int y,
                                           int cell_row, int cell_column, int first_px, int px, bool fitted,
                                           unsigned int (&counts)[2])
{
    const size_t first = (size_t)y * WIDTH + px;
    const Place row = between_cells(y % CELL_PX, cell_row, ROWS), down = picture.mono_y[y];
    const float *lower = picture.mono + (size_t)down.index * picture.mono_width;
    const float *upper = down.index + 1 < picture.mono_height ? lower + picture.mono_width : lower;
    const bool whole = WIDTH % 4 == 0;
    float stereo[4];
    if (whole) {
        const float4 four = __ldg((const float4 *)(picture.stereo_m + first));
        stereo[0] = four.x, stereo[1] = four.y, stereo[2] = four.z, stereo[3] = four.w;
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) stereo[k] = px + k < WIDTH ? picture.stereo_m[first + k] : 0.0f;
    }
    DepthdPixel pixels[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (!whole && px + k >= WIDTH) continue;
        pixels[k] = merge_one(picture, span, m, stereo[k], lower, upper, down.part, row, cell_column, px + k, first_px, fitted);
        count_source(counts, pixels[k].source);
    }
    if (whole) {
        *(float4 *)(picture.depth_m + first) =
            make_float4(pixels[0].depth_m, pixels[1].depth_m, pixels[2].depth_m, pixels[3].depth_m);
        *(uchar4 *)(picture.source + first) =
            make_uchar4(pixels[0].source, pixels[1].source, pixels[2].source, pixels[3].source);
        *(ushort4 *)(picture.sigma + first) = make_ushort4(depthd_half(pixels[0].sigma), depthd_half(pixels[1].sigma),
                                                           depthd_half(pixels[2].sigma), depthd_half(pixels[3].sigma));
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (px + k >= WIDTH) continue;
        picture.depth_m[first + k] = pixels[k].depth_m;
        picture.source[first + k] = pixels[k].source;
        picture.sigma[first + k] = depthd_half(pixels[k].sigma);
    }
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS, 4) fusion_merge(
    const float *__restrict__ stereo_m, const float *__restrict__ mono, int mono_height, int mono_width,
    const Place *__restrict__ mono_x, const Place *__restrict__ mono_y, const Settings *__restrict__ p, State *state,
    const Cells *__restrict__ cells, float *__restrict__ depth_m, uint8_t *__restrict__ source, uint16_t *__restrict__ sigma,
    Result *result)
{
    __shared__ Span span;
    if (blockIdx.x < DEPTHD_MEMORY_BINS) {
        remember_bin(p, state, cells, blockIdx.x);
        return;
    }
    const int block = blockIdx.x - DEPTHD_MEMORY_BINS;
    const int cell_row = block / MERGE_BLOCKS_PER_ROW, first_cell = block % MERGE_BLOCKS_PER_ROW * MERGE_SPAN;
    const int first_row = cell_row * CELL_PX, first_px = first_cell * CELL_PX;
    const bool fitted = state->fitted;
    prepare_span(&span, state, p, cells, cell_row, first_cell);
    const DepthdMergeParameters m = state->merge;
    const Picture picture = {stereo_m, mono, mono_x, mono_y, mono_height, mono_width, p->mono_kind, depth_m, source, sigma};
    unsigned int counts[2] = {0, 0};
    int since_flush = 0;
    for (int i = threadIdx.x; i < (QUADS_PER_ROW * CELL_PX + 31) / 32 * 32; i += MERGE_THREADS) {
        const int y = first_row + i / QUADS_PER_ROW, px = first_px + i % QUADS_PER_ROW * 4;
        if (i < QUADS_PER_ROW * CELL_PX && y < HEIGHT && px < WIDTH)
            merge_quad(picture, &span, m, y, cell_row, first_cell, first_px, px, fitted, counts);
        if (++since_flush == 250) {
            flush_counts(&span, counts);
            since_flush = 0;
        }
    }
    flush_counts(&span, counts);
    __syncthreads();
    if (threadIdx.x < 6 && span.counts[threadIdx.x]) atomicAdd(&result->pixels_per_source[threadIdx.x], span.counts[threadIdx.x]);
}
