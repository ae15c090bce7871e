/* Sums and medians over all samples, in a fixed order or in integers, so that the same frame gives the same bits. */
#pragma once

/* A histogram's weights are integers of this unit, so that the order of their atomic sum does not matter. No weight is above
 * 2.5, so that the sum of all fits into 32 bits. */
#define WEIGHT_UNITS ((float)(2147483648.0 / (2.5 * (CELL_COUNT + 1))))

/* Only bins in which the noise is neither at its minimum nor at its maximum have to be told apart. */
#define ERROR_PER_BIN (DEPTHD_ERROR_MAXIMUM / DEPTHD_ERROR_BINS)
enum {
    KEPT_BINS = 4 * HISTOGRAM_QUADS,
    FIRST_BIN = (int)(DEPTHD_MONO_NOISE_MINIMUM * DEPTHD_MEDIAN_OF_KEPT / ERROR_PER_BIN) - 2,
    LAST_NEEDED_BIN = (int)(DEPTHD_MONO_NOISE_MAXIMUM * DEPTHD_MEDIAN_OF_KEPT / ERROR_PER_BIN) + 1,
};
static_assert(FIRST_BIN >= 0 && LAST_NEEDED_BIN < FIRST_BIN + KEPT_BINS - 1, "a letter does not hold the histogram");

/* 1 / x to about 1e-15, for normal numbers: Newton's iteration from a float, a fraction of a division's time. */
__device__ __forceinline__ double reciprocal(double x)
{
    double r = (double)__fdividef(1.0f, (float)x);
    r = r * (2.0 - x * r);
    return r * (2.0 - x * r);
}

/* 1 / sqrt(x) likewise. */
__device__ __forceinline__ double inverse_root(double x)
{
    double r = (double)rsqrtf((float)x);
    r = r * (1.5 - 0.5 * x * r * r);
    return r * (1.5 - 0.5 * x * r * r);
}

/* A line as the samples need it, with x counted from an origin in their midst. */
struct Slope {
    float scale, value, noise; /* value: rho at the origin */

    __device__ __forceinline__ float at(float x) const { return scale * x + value; }
};

enum { SUMS = 16 };

/* What the threads of a block share. */
struct Shared {
    double sums[SUMS];
    double x_origin, rho_origin;
    DepthdScene scene;
    float low, bins_per_x;
    float inverse_maximum; /* of the settings, in reach */
    int mono_kind;
    float balance[DEPTHD_BALANCE_BINS];
    uint32_t balance_counts[DEPTHD_BALANCE_BINS];
    Line line;
    Slope slope; /* slope.noise is the newest; line.noise that of the last fit */
    int count, decision, chosen_count, winner;
    int warp_counts[2 * WARPS];
    float partial[WARPS][SUMS];
    uint32_t extents[WARPS][2];
    float scores[WARPS][3];
    __align__(16) uint32_t histogram[3][KEPT_BINS]; /* two of the fit, in turn, and one of the alignment */
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

/* In each lane of each warp: value `lane % N` added up over the block. */
template <int N>
__device__ __forceinline__ float add_over_block(Shared *shared, float (&values)[N])
{
    const int lane = threadIdx.x % 32;
    const float sum = add_over_lanes<N>(values);
    if (lane % (32 / N) == 0) shared->partial[threadIdx.x / 32][lane / (32 / N)] = sum;
    __syncthreads();
    float all = 0.0f;
#pragma unroll
    for (int warp = lane / N; warp < WARPS; warp += 32 / N) all += shared->partial[warp][lane % N];
#pragma unroll
    for (int offset = 16; offset >= N; offset /= 2) all += __shfl_xor_sync(0xFFFFFFFFu, all, offset);
    return all;
}

/* Sends this block's sums to all, from word `place` on; to be followed by Team::sent(). The second half of a sum over all blocks
 * is collect_sums(). */
template <int N>
__device__ __forceinline__ void send_sums(const Team &team, Shared *shared, float (&values)[N], int place = 0)
{
    const float all = add_over_block<N>(shared, values);
    for (int to = threadIdx.x / 32; to < BLOCKS; to += WARPS)
        if (threadIdx.x % 32 < N) team.send(to, place + threadIdx.x % 32, __float_as_uint(all));
}

/* By one warp: in each lane, value `lane % N` of all blocks. */
template <int N>
__device__ __forceinline__ double collect_sums(const Team &team, int place = 0)
{
    const int lane = threadIdx.x % 32;
    team.receive();
    double sum = 0.0;
#pragma unroll
    for (int block = lane / N; block < BLOCKS; block += 32 / N)
        sum += (double)__uint_as_float(team.letter(block, place + lane % N));
#pragma unroll
    for (int offset = 16; offset >= N; offset /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, offset);
    return sum;
}

/* By all threads of a warp: an error counts in the two bins whose centres it lies between, by nearness. What lies beyond
 * the bins is added up first, so that not all lanes wait for one place. */
__device__ __forceinline__ void count_error(uint32_t *histogram, float place, float weight)
{
    const float kept = fminf(fmaxf(place - FIRST_BIN, 0.0f), (float)(KEPT_BINS - 1));
    const uint32_t units = __float2uint_rn(weight * WEIGHT_UNITS);
    const uint32_t under = __reduce_add_sync(0xFFFFFFFFu, kept == 0.0f ? units : 0u);
    const uint32_t over = __reduce_add_sync(0xFFFFFFFFu, kept == KEPT_BINS - 1 ? units : 0u);
    if (threadIdx.x % 32 == 0) {
        atomicAdd(&histogram[0], under);
        atomicAdd(&histogram[KEPT_BINS - 1], over);
    }
    if (units == 0 || kept == 0.0f || kept == KEPT_BINS - 1) return;
    const int lower = (int)kept;
    const uint32_t above = __float2uint_rn(weight * WEIGHT_UNITS * (kept - lower));
    atomicAdd(histogram + lower, units - min(above, units));
    atomicAdd(histogram + lower + 1, min(above, units));
}

/* After a __syncthreads(): sends this block's histogram to all; to be followed by Team::sent(). */
__device__ __forceinline__ void send_histogram(const Team &team, const uint32_t *histogram)
{
    const int lane = threadIdx.x % 32;
    const uint4 quad = ((const uint4 *)histogram)[lane];
    for (int to = threadIdx.x / 32; to < BLOCKS; to += WARPS) team.send_quad(to, lane, quad);
}

/* By one warp: mono's relative noise from the median of the errors counted by all blocks. */
__device__ __forceinline__ float collect_noise(const Team &team, float fallback)
{
    const int lane = threadIdx.x % 32;
    team.receive();
    uint4 bins = team.letter_quad(0, lane);
#pragma unroll
    for (int block = 1; block < BLOCKS; block++) {
        const uint4 more = team.letter_quad(block, lane);
        bins.x += more.x, bins.y += more.y, bins.z += more.z, bins.w += more.w;
    }
    const uint32_t here = bins.x + bins.y + bins.z + bins.w;
    uint32_t reached = here;
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
        const uint32_t left = __shfl_up_sync(0xFFFFFFFFu, reached, offset);
        if (lane >= offset) reached += left;
    }
    const uint32_t total = __shfl_sync(0xFFFFFFFFu, reached, 31), half = total - total / 2;
    if (total == 0) return fallback;
    const int found = __ffs(__ballot_sync(0xFFFFFFFFu, reached >= half)) - 1;
    /* In the lane that was found: the bin, what is below it, and what is in it. */
    uint32_t below = reached - here, count = bins.x;
    int bin = 4 * lane;
    if (below + count < half) below += count, count = bins.y, bin++;
    if (below + count < half) below += count, count = bins.z, bin++;
    if (below + count < half) below += count, count = bins.w, bin++;
    const float part = __fdividef(0.5f * (float)(total - 2u * below), (float)count);
    const float median = (FIRST_BIN + bin + part) * (float)ERROR_PER_BIN;
    const float noise = fminf(fmaxf(median * (float)(1.0 / DEPTHD_MEDIAN_OF_KEPT), (float)DEPTHD_MONO_NOISE_MINIMUM),
                              (float)DEPTHD_MONO_NOISE_MAXIMUM);
    return __shfl_sync(0xFFFFFFFFu, noise, found);
}
