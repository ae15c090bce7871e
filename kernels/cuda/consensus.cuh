/* 2. Consensus: where to start. */
#pragma once

/* A thread's own samples, in registers. */
struct Samples {
    float x[ITEMS], x_all[ITEMS], rho[ITEMS]; /* x and x_all are counted from shared->x_origin */
    float calm[ITEMS], weight[ITEMS];
    int cell[ITEMS]; /* -1: a remembered sample, or none */
    bool usable[ITEMS];
};

/* Samples chosen for the consensus: x, rho, weight, and the rho of another, which x would be paired with by chance. */
typedef float4 Chosen;

__device__ __forceinline__ int stratum_of(int cell)
{
    const int row = cell / COLUMNS, column = cell % COLUMNS;
    return row * DEPTHD_STRATA / ROWS * DEPTHD_STRATA + column * DEPTHD_STRATA / COLUMNS;
}

__device__ __forceinline__ int balance_bin(float x, const Shared *shared)
{
    const int bin = (int)((x - shared->low) * shared->bins_per_x);
    return bin < DEPTHD_BALANCE_BINS - 1 ? bin : DEPTHD_BALANCE_BINS - 1;
}

/* Lists the samples with the smallest key of each stratum, in the order of the strata, their weight not yet balanced. */
__device__ __forceinline__ void list_chosen(const Team &team, Shared *shared, const Cells *cells, float stereo_noise,
                                            Chosen *chosen)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t none = 0xFFFFFFFFu;
    enum { PER_THREAD = (STRATA_COUNT + THREADS - 1) / THREADS };
    uint32_t keys[PER_THREAD], here[PER_THREAD];
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        const int stratum = k * THREADS + threadIdx.x;
        keys[k] = stratum < STRATA_COUNT ? take(&team.of(stratum % BLOCKS)->strata[stratum / BLOCKS]) : none;
        here[k] = __ballot_sync(0xFFFFFFFFu, keys[k] != none);
        if (lane == 0) shared->warp_counts[k * WARPS + warp] = __popc(here[k]);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        int before = 0;
        for (int w = 0; w < k * WARPS + warp; w++) before += shared->warp_counts[w];
        if (k == PER_THREAD - 1 && threadIdx.x == THREADS - 1) shared->chosen_count = before + __popc(here[k]);
        if (keys[k] == none) continue;
        const int cell = (int)depthd_unscramble(keys[k]);
        const float calm = depthd_calm(cells->fill[cell], cells->variance[cell], stereo_noise);
        chosen[before + __popc(here[k] & ((1u << lane) - 1u))] =
            make_float4((float)(cells->x[cell] - shared->x_origin), cells->rho[cell], calm, 0.0f);
    }
}

/* Through two of the chosen samples. */
__device__ __forceinline__ Slope hypothesis(const Chosen *chosen, uint32_t count, uint32_t trial, double x_origin, int kind)
{
    const Chosen a = chosen[depthd_scramble(2 * trial) % count], b = chosen[depthd_scramble(2 * trial + 1) % count];
    if (kind == DEPTHD_MONO_METRIC_DEPTH) {
        const double scale = a.y / (a.x + x_origin);
        return {(float)scale, (float)(scale * x_origin), 0.0f};
    }
    const double scale = ((double)b.y - a.y) / ((double)b.x - a.x);
    return {(float)scale, (float)(a.y - scale * a.x), 0.0f};
}

__device__ __forceinline__ bool is_good(const Slope &s)
{
    return s.scale > 0.0f && s.scale <= 3.402823466e38f && fabsf(s.value) <= 3.402823466e38f;
}

/* By one warp, over every `step`th of the chosen samples from `first` on: what they say for two hypotheses. */
__device__ __forceinline__ float2 support_of_two(const Chosen *chosen, int count, int first, int step, Slope a, Slope b,
                                                 DepthdScene scene)
{
    float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll 4
    for (int i = first; i < count; i += step) {
        const Chosen s = chosen[i];
        sum.x += s.z * depthd_support(s.y, s.w, a.at(s.x), scene);
        sum.y += s.z * depthd_support(s.y, s.w, b.at(s.x), scene);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        sum.x += __shfl_xor_sync(0xFFFFFFFFu, sum.x, offset);
        sum.y += __shfl_xor_sync(0xFFFFFFFFu, sum.y, offset);
    }
    return sum;
}

__device__ __forceinline__ bool is_better(float score, int trial, float than_score, int than_trial)
{
    return score > than_score || (score == than_score && trial < than_trial);
}

enum { TRIALS_PER_WARP = DEPTHD_HYPOTHESES / (BLOCKS * WARPS) };

/* The best hypothesis of this block, published. `earlier` is judged by the last block, all its warps together. */
__device__ __forceinline__ void judge_hypotheses(const Team &team, Shared *shared, const Chosen *chosen,
                                                 const Slope *earlier)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = shared->chosen_count;
    const DepthdScene scene = shared->scene;
    float best = -INFINITY;
    int winner = DEPTHD_HYPOTHESES + 1;
    for (int k = 0; k < TRIALS_PER_WARP && count > 0; k += 2) {
        const int trial = (team.rank * WARPS + warp) * TRIALS_PER_WARP + k;
        const Slope a = hypothesis(chosen, count, trial, shared->x_origin, shared->mono_kind);
        const Slope b = hypothesis(chosen, count, trial + 1, shared->x_origin, shared->mono_kind);
        const float2 scores = support_of_two(chosen, count, lane, 32, a, b, scene);
        if (is_good(a) && is_better(scores.x, trial, best, winner)) best = scores.x, winner = trial;
        if (is_good(b) && is_better(scores.y, trial + 1, best, winner)) best = scores.y, winner = trial + 1;
    }
    float of_earlier = 0.0f;
    if (earlier && team.rank == BLOCKS - 1)
        of_earlier =
            support_of_two(chosen, count, warp * 32 + lane, THREADS, *earlier, *earlier, scene).x;
    if (lane == 0) {
        shared->scores[warp][0] = best;
        shared->scores[warp][1] = of_earlier;
        shared->trials[warp] = winner;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < WARPS; w++)
        if (is_better(shared->scores[w][0], shared->trials[w], best, winner))
            best = shared->scores[w][0], winner = shared->trials[w];
    if (earlier && team.rank == BLOCKS - 1 && count > 0) {
        for (int w = 1; w < WARPS; w++) of_earlier += shared->scores[w][1];
        if (is_better(of_earlier, DEPTHD_HYPOTHESES, best, winner)) best = of_earlier, winner = DEPTHD_HYPOTHESES;
    }
    put(&team.mine->best_score, best);
    put(&team.mine->best_trial, winner);
}

/* By one warp: the winner among all blocks; a number above DEPTHD_HYPOTHESES means none. */
__device__ __forceinline__ int best_of_all(const Team &team)
{
    const int lane = threadIdx.x % 32;
    float score = -INFINITY;
    int trial = DEPTHD_HYPOTHESES + 1;
    if (lane < BLOCKS) {
        score = take(&team.of(lane)->best_score);
        trial = take(&team.of(lane)->best_trial);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xFFFFFFFFu, score, offset);
        const int their = __shfl_xor_sync(0xFFFFFFFFu, trial, offset);
        if (is_better(other, their, score, trial)) score = other, trial = their;
    }
    return trial;
}
