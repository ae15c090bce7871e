/* Sums and medians over all samples, in a fixed order or in integers, so that the same frame gives the same bits. */
#pragma once

/* A histogram's weights are integers of this unit, so that the order of their atomic sum does not matter. No weight is above
 * 2.5, so that the sum of all fits into 32 bits. */
#define WEIGHT_UNITS ((float)(2147483648.0 / (2.5 * (CELL_COUNT + 1))))

/* 1 / x to about 1e-15, for normal numbers: Newton's iteration from a float, a fraction of a division's time. */
__device__ __forceinline__ double reciprocal(double x)
{
    double r = (double)__fdividef(1.0f, (float)x);
    r = r * (2.0 - x * r);
    return r * (2.0 - x * r);
}

/* A line as the samples need it, with x counted from an origin in their midst. */
struct Slope {
    float scale, value, noise; /* value: rho at the origin */

    __device__ __forceinline__ float at(float x) const { return scale * x + value; }
};

/* What the threads of a block share. */
struct Shared {
    double sums[SUMS];
    double x_origin, rho_origin;
    DepthdScene scene;
    float low, bins_per_x;
    float inverse_maximum; /* of the settings, in reach */
    int mono_kind;
    float balance[DEPTHD_BALANCE_BINS];
    double noise;
    Line line;
    Slope slope;
    int count, decision, chosen_count;
    int first_rows[TILES_DOWN], first_columns[TILES_ACROSS];
    int warp_counts[2 * WARPS];
    float partial[WARPS][SUMS];
    float4 gathered[BLOCKS][SUMS / 4];
    float scores[WARPS][2];
    int trials[WARPS];
};

/* Adds N (a power of two) values over the lanes of a warp. Value i ends in the lanes i * 32 / N and following. */
template <int N>
__device__ __forceinline__ float add_over_lanes(float (&values)[N])
{
    const int lane = threadIdx.x % 32;
    int offset = 16;
#pragma unroll
    for (int half = N / 2; half > 0; half /= 2) {
        const bool upper = lane & offset;
#pragma unroll
        for (int i = 0; i < half; i++) {
            const float sent = upper ? values[i] : values[i + half];
            const float kept = upper ? values[i + half] : values[i];
            values[i] = kept + __shfl_xor_sync(0xFFFFFFFFu, sent, offset);
        }
        offset /= 2;
    }
#pragma unroll
    for (; offset > 0; offset /= 2) values[0] += __shfl_xor_sync(0xFFFFFFFFu, values[0], offset);
    return values[0];
}

/* First half of a sum over all blocks; the second comes after wait_for_all(). */
template <int N>
__device__ __forceinline__ void publish_sums(const Team &team, Shared *shared, float (&values)[N], int turn)
{
    const int lane = threadIdx.x % 32;
    const float sum = add_over_lanes<N>(values);
    if (lane % (32 / N) == 0) shared->partial[threadIdx.x / 32][lane / (32 / N)] = sum;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    float all = 0.0f;
#pragma unroll
    for (int warp = lane / N; warp < WARPS; warp += 32 / N) all += shared->partial[warp][lane % N];
#pragma unroll
    for (int offset = 16; offset >= N; offset /= 2) all += __shfl_xor_sync(0xFFFFFFFFu, all, offset);
    if (lane < N) put(&team.mine->sums[turn][lane], all);
}

/* By one warp: the first N sums of all blocks, into shared->sums. Each lane asks another block, so that none is waited for by
 * all at once. */
template <int N>
__device__ __forceinline__ void collect_sums(const Team &team, Shared *shared, int turn)
{
    enum { QUADS = N / 4 };
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = lane; i < BLOCKS * QUADS; i += 32)
        shared->gathered[i / QUADS][i % QUADS] = take((const float4 *)&team.of(i / QUADS)->sums[turn][i % QUADS * 4]);
    __syncwarp();
    double sum = 0.0;
#pragma unroll
    for (int block = lane / N; block < BLOCKS; block += 32 / N) sum += ((const float *)shared->gathered[block])[lane % N];
#pragma unroll
    for (int offset = 16; offset >= N; offset /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, offset);
    if (lane < N) shared->sums[lane] = sum;
    __syncwarp();
}

__device__ __forceinline__ void clear_histogram(const Team &team, int turn)
{
    for (int i = threadIdx.x; i < DEPTHD_ERROR_BINS; i += THREADS) put(&team.mine->histogram[turn][i], 0u);
}

/* An error counts in the two bins whose centres it lies between, by nearness. */
__device__ __forceinline__ void count_error(const Team &team, int turn, float place, float weight)
{
    const int lower = min((int)place, DEPTHD_ERROR_BINS - 2);
    const uint32_t units = __float2uint_rn(weight * WEIGHT_UNITS);
    const uint32_t above = __float2uint_rn(weight * WEIGHT_UNITS * (place - lower));
    uint32_t *bins = &team.mine->histogram[turn][lower];
    if (units > above) atomicAdd(bins, units - above);
    if (above) atomicAdd(bins + 1, above);
}

/* First half of a median over all blocks: the histogram's coarse bins. The second comes after wait_for_all(). */
__device__ __forceinline__ void publish_histogram(const Team &team, int turn)
{
    __syncthreads();
    const int lane = threadIdx.x % 32;
    for (int c = threadIdx.x / 32; c < COARSE_BINS; c += WARPS) {
        const uint32_t sum = __reduce_add_sync(0xFFFFFFFFu, take(&team.mine->histogram[turn][c * FINE_BINS + lane]));
        if (lane == 0) put(&team.mine->coarse[turn][c], sum);
    }
}

/* Of 32 counts, one a lane: the first lane up to which they reach half of `total`; `below` becomes the sum before it. */
__device__ __forceinline__ int find_half(uint32_t count, uint32_t total, uint32_t &below)
{
    const int lane = threadIdx.x % 32;
    uint32_t reached = count;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const uint32_t left = __shfl_up_sync(0xFFFFFFFFu, reached, offset);
        if (lane >= offset) reached += left;
    }
    const unsigned int enough = __ballot_sync(0xFFFFFFFFu, below + reached >= total - total / 2);
    const int found = enough ? __ffs(enough) - 1 : 31;
    below += __shfl_sync(0xFFFFFFFFu, reached - count, found);
    return found;
}

/* By one warp: mono's relative noise from the median of the errors counted by all blocks. */
__device__ __forceinline__ double median_noise(const Team &team, int turn, double fallback)
{
    const int lane = threadIdx.x % 32;
    uint32_t coarse = 0, fine = 0, below = 0;
    /* Every block begins with another one, so that none is waited for by all at once. */
#pragma unroll
    for (int r = 0; r < BLOCKS; r++) coarse += take(&team.of((r + team.rank) % BLOCKS)->coarse[turn][lane]);
    const uint32_t total = __reduce_add_sync(0xFFFFFFFFu, coarse);
    if (total == 0) return fallback;
    const int group = find_half(coarse, total, below);
#pragma unroll
    for (int r = 0; r < BLOCKS; r++)
        fine += take(&team.of((r + team.rank) % BLOCKS)->histogram[turn][group * FINE_BINS + lane]);
    const int bin = find_half(fine, total, below);
    const double count = (double)__shfl_sync(0xFFFFFFFFu, fine, bin);
    const double part = (0.5 * (double)total - (double)below) * reciprocal(count);
    const double median = (group * FINE_BINS + bin + part) * (DEPTHD_ERROR_MAXIMUM / DEPTHD_ERROR_BINS);
    return fmin(fmax(median * (1.0 / DEPTHD_MEDIAN_OF_KEPT), DEPTHD_MONO_NOISE_MINIMUM), DEPTHD_MONO_NOISE_MAXIMUM);
}
