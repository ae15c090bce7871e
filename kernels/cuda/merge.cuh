/* 6. Judge stereo and merge, mono upsampled in the same pass. A block takes a span of cells of one row. The first blocks
 * have nothing to do with pixels: they remember this frame's inliers (4. Memory), each a range of inverse depth in a part of
 * the cells. */
#pragma once

enum {
    MERGE_THREADS = 256,
    /* Cells of a block: a multiple of 4, and no more than what a block may hold of shared memory. */
    MERGE_SPAN = CELL_PX >= 64 ? 4 : CELL_PX < 2 ? 128 : (256 / CELL_PX + 3) / 4 * 4,
    MERGE_SPAN_PX = MERGE_SPAN * CELL_PX,
    MERGE_BLOCKS_PER_ROW = (COLUMNS + MERGE_SPAN - 1) / MERGE_SPAN,
    RIM = 2,                        /* cells that the binomial filter reaches */
    HALO = MERGE_SPAN + 2,          /* cells that pixels are interpolated between */
    REACH = HALO + 2 * RIM,
    QUADS_PER_ROW = MERGE_SPAN_PX / 4,
};

/* Adds up three values over a block, in a fixed order; the first thread has the sums. */
__device__ __forceinline__ void add_over_merge_block(double (&values)[3])
{
    __shared__ double scratch[MERGE_THREADS / 32][3];
#pragma unroll
    for (int k = 0; k < 3; k++) {
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2) values[k] += __shfl_xor_sync(0xFFFFFFFFu, values[k], offset);
        if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32][k] = values[k];
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
#pragma unroll
    for (int k = 0; k < 3; k++) {
        values[k] = 0.0;
        for (int w = 0; w < MERGE_THREADS / 32; w++) values[k] += scratch[w][k];
    }
}

__device__ __forceinline__ DepthdScene scene_of(const State *state, const Settings *p)
{
    return {(float)state->end, (float)state->softening, (float)p->stereo_noise, (float)p->inverse_minimum};
}

/* Ages one bin of the memory and adds this frame's inliers to it, as far as they are of this block's part of the cells. */
__device__ void remember_bin(const Settings *p, State *state, const Cells *cells, int bin, int part)
{
    const float scale = (float)state->line.scale, shift = (float)state->line.shift;
    const float noise = (float)state->line.noise, maximum = (float)p->inverse_maximum;
    const DepthdScene scene = scene_of(state, p);
    double sums[3] = {0.0, 0.0, 0.0};
    if (state->remember) {
        enum { AT_ONCE = 8 };
        const int first = part * MERGE_THREADS + threadIdx.x;
#pragma unroll 1
        for (int begin = first; begin < CELL_COUNT; begin += AT_ONCE * MEMORY_PARTS * MERGE_THREADS) {
            float rhos[AT_ONCE], xs[AT_ONCE], shares[AT_ONCE];
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const int cell = begin + k * MEMORY_PARTS * MERGE_THREADS;
                rhos[k] = cell < CELL_COUNT ? cells->rho[cell] : 1.0f;
                xs[k] = cell < CELL_COUNT ? cells->x[cell] : 0.0f;
                shares[k] = cell < CELL_COUNT ? cells->weight[cell] : 0.0f;
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++) {
                const float rho = rhos[k], x = xs[k];
                const int place = (int)(depthd_level(rho, scene.inverse_minimum, maximum) * DEPTHD_MEMORY_BINS);
                const float predicted = scale * x + shift;
                const float precision = __fdividef(1.0f, depthd_variance(predicted, noise, scene));
                const float inside = depthd_inside(rho - predicted, precision, DEPTHD_TUKEY_FIT);
                const bool here = min(place, DEPTHD_MEMORY_BINS - 1) == bin && inside > 0.0f && predicted < scene.end;
                if (!(here && shares[k] > 0.0f)) continue;
                const double inlier = shares[k] * inside * inside;
                sums[0] += inlier;
                sums[1] += inlier * x;
                sums[2] += inlier * rho;
            }
        }
        add_over_merge_block(sums);
    }
    if (threadIdx.x != 0) return;
    const double decay = state->forget ? 0.0 : state->remember ? p->memory_decay : 1.0;
#pragma unroll
    for (int k = 0; k < 3; k++) state->samples[part][k][bin] = decay * state->samples[part][k][bin] + sums[k];
}

/* What the pixels of a span are interpolated from, or repeat. */
struct Span {
    float4 cells[3 + 2 * RIM][REACH], blurred[3][REACH]; /* trust * (error - correction), trust, calm, fill */
    float correction[3][HALO];
    float2 x_and_before[3][HALO]; /* mono, and the frame before's inverse depth without its flicker */
    float sigma[MERGE_SPAN], rim_share[MERGE_SPAN], near_claim[MERGE_SPAN], far_claim[MERGE_SPAN], blur[MERGE_SPAN];
    unsigned int counts[6];
};

/* [1 4 6 4 1] / 16, nothing beyond the border at each of its two passes. */
__device__ __forceinline__ float4 binomial(const float4 *values, int stride, int place, int count)
{
    const float middle = (6 - (place == 0) - (place == count - 1)) * 0.0625f;
    const float4 a = values[0], b = values[stride], c = values[2 * stride], d = values[3 * stride], e = values[4 * stride];
    return make_float4(0.0625f * (a.x + e.x) + 0.25f * (b.x + d.x) + middle * c.x,
                       0.0625f * (a.y + e.y) + 0.25f * (b.y + d.y) + middle * c.y,
                       0.0625f * (a.z + e.z) + 0.25f * (b.z + d.z) + middle * c.z,
                       0.0625f * (a.w + e.w) + 0.25f * (b.w + d.w) + middle * c.w);
}

/* Bends the correction to the rim, takes out its flicker, and says how sure it is of each cell. */
__device__ __forceinline__ void prepare_span(Span *span, const State *state, const Settings *p, Cells *cells, int cell_row,
                                             int first_cell)
{
    const DepthdMergeParameters m = state->merge;
    const DepthdScene scene = scene_of(state, p);
    const float *before = cells->predicted[1 - state->predicted_turn], prior = (float)DEPTHD_RIM_PRIOR;
    const float decay = state->carries_predicted ? (float)p->mono_decay : 0.0f;
    const bool fitted = state->fitted;
    enum { CELLS = (3 + 2 * RIM) * REACH };
#pragma unroll
    for (int k = 0; k < (CELLS + MERGE_THREADS - 1) / MERGE_THREADS; k++) {
        const int i = k * MERGE_THREADS + threadIdx.x;
        const int band = i / REACH - RIM, place = i % REACH - RIM, row = cell_row - 1 + band, column = first_cell - 1 + place;
        const bool inside = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
        if (i >= CELLS) continue;
        const int index = inside ? row * COLUMNS + column : 0;
        const float4 cell = cells->aligned[index];
        const float fill = cells->fill[index];
        const float2 own = make_float2(cells->x_all[index], before[index]);
        span->cells[0][i] = inside ? make_float4(cell.z, cell.y, cell.w, fill) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (band < 0 || band >= 3 || place < 0 || place >= HALO) continue;
        span->correction[band][place] = cell.x;
        span->x_and_before[band][place] = own;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * REACH; i += MERGE_THREADS)
        span->blurred[0][i] = binomial(&span->cells[0][i], REACH, cell_row - 1 + i / REACH, ROWS);
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * HALO; i += MERGE_THREADS) {
        const int band = i / HALO, place = i % HALO, row = cell_row - 1 + band, column = first_cell - 1 + place;
        const bool inside = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
        if (!inside || !fitted) {
            span->correction[band][place] = 0.0f;
            if (band == 1 && place > 0 && place <= MERGE_SPAN)
                span->rim_share[place - 1] = span->near_claim[place - 1] = span->far_claim[place - 1] = span->blur[place - 1] =
                    span->sigma[place - 1] = 0.0f;
            continue;
        }
        const float4 rim = binomial(&span->blurred[band][place], 1, column, COLUMNS);
        const int cell = row * COLUMNS + column;
        const float2 own = span->x_and_before[band][place];
        const float x = own.x, line_value = m.scale * x + m.shift, unit = depthd_unit(line_value, scene);
        const float bent = span->correction[band][place] + rim.x / (rim.y + prior), predicted = line_value + bent * unit;
        const float steady = depthd_steady(predicted, own.y, unit, decay);
        span->correction[band][place] = bent + (steady - predicted) / unit;
        if (band != 1 || place == 0 || place > MERGE_SPAN) continue;
        cells->predicted[state->predicted_turn][cell] = steady;
        span->rim_share[place - 1] = rim.y / (rim.y + prior);
        span->near_claim[place - 1] =
            depthd_claim(rim.z, DEPTHD_SOLIDITY_DOUBLINGS, (float)p->near_claim_factor, (float)p->solid_claim_factor);
        span->far_claim[place - 1] =
            depthd_claim(rim.w, DEPTHD_WHOLENESS_DOUBLINGS, (float)p->far_claim_factor, (float)p->whole_claim_factor);
        span->blur[place - 1] = (float)DEPTHD_BLUR_SHARE * m.scale * cells->x_range[cell];
        span->sigma[place - 1] = depthd_cell_sigma(line_value, x - state->pivot, m.mono_noise, state->global_noise,
                                                   state->value_variance, state->scale_variance, scene);
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
    int mono_height, mono_width;
    float *depth_m;
    uint8_t *source;
    uint16_t *sigma;
};

/* Four pixels side by side: stereo, and mono between the network's. */
struct Quad {
    float stereo_m[4], x[4];
};

enum {
    QUADS = QUADS_PER_ROW * CELL_PX,
    QUADS_AT_ONCE = 2, /* of a thread */
    QUAD_PASSES = (QUADS + QUADS_AT_ONCE * MERGE_THREADS - 1) / (QUADS_AT_ONCE * MERGE_THREADS),
    WHOLE_QUADS = WIDTH % 4 == 0,
};

/* Where the quads of a block lie. */
struct Window {
    int cell_row, first_cell;

    __device__ __forceinline__ int row(int quad) const { return cell_row * CELL_PX + quad / QUADS_PER_ROW; }
    __device__ __forceinline__ int px(int quad) const { return first_cell * CELL_PX + quad % QUADS_PER_ROW * 4; }
    __device__ __forceinline__ bool has(int quad) const { return quad < QUADS && row(quad) < HEIGHT && px(quad) < WIDTH; }
};

__device__ __forceinline__ void load_quad(const Picture &picture, int y, int px, Quad &quad)
{
    const float *stereo = picture.stereo_m + (size_t)y * WIDTH + px;
    const Place down = picture.mono_y[y];
    const float *lower = picture.mono + (size_t)down.index * picture.mono_width;
    const float *upper = down.index + 1 < picture.mono_height ? lower + picture.mono_width : lower;
    if (WHOLE_QUADS) {
        const float4 four = __ldg((const float4 *)stereo);
        quad.stereo_m[0] = four.x, quad.stereo_m[1] = four.y, quad.stereo_m[2] = four.z, quad.stereo_m[3] = four.w;
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) quad.stereo_m[k] = px + k < WIDTH ? stereo[k] : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        quad.x[k] = mono_at(lower, upper, down.part, picture.mono_x[min(px + k, WIDTH - 1)], picture.mono_width);
}

/* Counts of three sources in each of two numbers, ten bits apiece. */
__device__ __forceinline__ void count_source(unsigned int (&counts)[2], int source)
{
    const unsigned int one = 1u << (source % 3 * 10);
    counts[0] += source < 3 ? one : 0u;
    counts[1] += source < 3 ? 0u : one;
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

__device__ __forceinline__ void merge_quad(const Picture &picture, const Span *span, const DepthdMergeParameters &m,
                                           const Window &window, int index, const Quad &quad, bool fitted,
                                           unsigned int (&counts)[2])
{
    const int y = window.row(index), px = window.px(index), first_px = window.first_cell * CELL_PX;
    const size_t first = (size_t)y * WIDTH + px;
    const Place row = between_cells(y % CELL_PX, window.cell_row, ROWS);
    const float *above = span->correction[row.index], *below = span->correction[row.index < 2 ? row.index + 1 : 2];
    DepthdPixel pixels[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const int place = (px + k - first_px) / CELL_PX;
        const Place column = between_cells((px + k - first_px) % CELL_PX, window.first_cell + place, COLUMNS);
        const int at = place + column.index;
        const float left = above[at] + (below[at] - above[at]) * row.part;
        const float right = above[at + 1] + (below[at + 1] - above[at + 1]) * row.part;
        const int cell = min(place, MERGE_SPAN - 1);
        pixels[k] = depthd_merge_pixel(quad.stereo_m[k], fitted ? quad.x[k] : NAN, left + (right - left) * column.part,
                                       span->sigma[cell], span->rim_share[cell], span->near_claim[cell], span->far_claim[cell],
                                       span->blur[cell], &m);
        if (WHOLE_QUADS || px + k < WIDTH) count_source(counts, pixels[k].source);
    }
    if (WHOLE_QUADS) {
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

/* The pixels' loads go out before what the cells tell is prepared. */
__device__ __forceinline__ void merge_window(const Picture &picture, Span *span, const State *state, const Settings *p,
                                             Cells *cells, const Window &window)
{
    unsigned int counts[2] = {0, 0};
    Quad quads[QUADS_AT_ONCE];
#pragma unroll
    for (int k = 0; k < QUADS_AT_ONCE; k++) {
        const int quad = k * MERGE_THREADS + threadIdx.x;
        if (window.has(quad)) load_quad(picture, window.row(quad), window.px(quad), quads[k]);
    }
    wait_for_last();
    prepare_span(span, state, p, cells, window.cell_row, window.first_cell);
    const DepthdMergeParameters m = state->merge;
    const bool fitted = state->fitted;
#pragma unroll 1
    for (int pass = 0; pass < QUAD_PASSES; pass++) {
#pragma unroll
        for (int k = 0; k < QUADS_AT_ONCE; k++) {
            const int quad = (pass * QUADS_AT_ONCE + k) * MERGE_THREADS + threadIdx.x;
            if (window.has(quad)) merge_quad(picture, span, m, window, quad, quads[k], fitted, counts);
        }
        if (pass + 1 == QUAD_PASSES || pass % 100 == 99) flush_counts(span, counts);
        if (pass + 1 == QUAD_PASSES) break;
#pragma unroll
        for (int k = 0; k < QUADS_AT_ONCE; k++) {
            const int quad = ((pass + 1) * QUADS_AT_ONCE + k) * MERGE_THREADS + threadIdx.x;
            if (window.has(quad)) load_quad(picture, window.row(quad), window.px(quad), quads[k]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(MERGE_THREADS, 4) fusion_merge(
    const float *__restrict__ stereo_m, const float *__restrict__ mono, int mono_height, int mono_width,
    const Place *__restrict__ mono_x, const Place *__restrict__ mono_y, const Settings *__restrict__ p, State *state,
    Cells *cells, float *__restrict__ depth_m, uint8_t *__restrict__ source, uint16_t *__restrict__ sigma,
    Result *result)
{
    __shared__ Span span;
    if (blockIdx.x < DEPTHD_MEMORY_BINS * MEMORY_PARTS) {
        wait_for_last();
        remember_bin(p, state, cells, blockIdx.x % DEPTHD_MEMORY_BINS, blockIdx.x / DEPTHD_MEMORY_BINS);
        return;
    }
    const int block = blockIdx.x - DEPTHD_MEMORY_BINS * MEMORY_PARTS;
    const Window window = {block / MERGE_BLOCKS_PER_ROW, block % MERGE_BLOCKS_PER_ROW * MERGE_SPAN};
    const Picture picture = {stereo_m, mono, mono_x, mono_y, mono_height, mono_width, depth_m, source, sigma};
    merge_window(picture, &span, state, p, cells, window);
    __syncthreads();
    if (threadIdx.x < 6 && span.counts[threadIdx.x]) atomicAdd(&result->pixels_per_source[threadIdx.x], span.counts[threadIdx.x]);
}
