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

/* The first cell along an axis of `cells` that lies in a part. */
__device__ __forceinline__ int first_of_part(int part, int cells)
{
    return (part * cells + DEPTHD_STRATA - 1) / DEPTHD_STRATA;
}

/* The smallest key of a stratum, among the blocks whose tiles have cells of it. */
__device__ __forceinline__ uint32_t smallest_key(const Team &team, int stratum)
{
    const int row = stratum / DEPTHD_STRATA, column = stratum % DEPTHD_STRATA;
    const int top = first_of_part(row, ROWS), bottom = first_of_part(row + 1, ROWS) - 1;
    const int left = first_of_part(column, COLUMNS), right = first_of_part(column + 1, COLUMNS) - 1;
    uint32_t key = 0xFFFFFFFFu;
    if (top > bottom || left > right) return key;
#pragma unroll 1
    for (int down = top / TILE_ROWS; down <= bottom / TILE_ROWS; down++)
#pragma unroll 1
        for (int across = left / TILE_COLUMNS; across <= right / TILE_COLUMNS; across++)
            key = min(key, take(&team.of(down * TILES_ACROSS + across)->strata[stratum]));
    return key;
}

/* Lists the samples with the smallest key of each stratum, in the order of the strata, their weight not yet balanced. */
__device__ __forceinline__ void list_chosen(const Team &team, Shared *shared, const Cells *cells, float stereo_noise,
                                            Chosen *chosen)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t none = 0xFFFFFFFFu;
    enum { PER_THREAD = (STRATA_COUNT + THREADS - 1) / THREADS };
    static_assert(PER_THREAD * WARPS <= 32, "a warp does not see all counts at once");
    uint32_t keys[PER_THREAD], here[PER_THREAD];
    Chosen samples[PER_THREAD];
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        const int stratum = k * THREADS + threadIdx.x;
        keys[k] = stratum < STRATA_COUNT ? smallest_key(team, stratum) : none;
        here[k] = __ballot_sync(0xFFFFFFFFu, keys[k] != none);
        if (lane == 0) shared->warp_counts[k * WARPS + warp] = __popc(here[k]);
        const int cell = keys[k] != none ? (int)depthd_unscramble(keys[k]) : 0;
        samples[k] = make_float4(cells->x[cell], cells->rho[cell], cells->fill[cell], cells->variance[cell]);
    }
    __syncthreads();
    const int counts = lane < PER_THREAD * WARPS ? shared->warp_counts[lane] : 0;
#pragma unroll
    for (int k = 0; k < PER_THREAD; k++) {
        const int before = __reduce_add_sync(0xFFFFFFFFu, lane < k * WARPS + warp ? counts : 0);
        if (keys[k] == none) continue;
        const float calm = depthd_calm(samples[k].z, samples[k].w, stereo_noise);
        chosen[before + __popc(here[k] & ((1u << lane) - 1u))] =
            make_float4((float)(samples[k].x - shared->x_origin), samples[k].y, calm, 0.0f);
    }
    const int all = __reduce_add_sync(0xFFFFFFFFu, counts);
    if (threadIdx.x == 0) shared->chosen_count = all;
}

/* Through two of the chosen samples. */
__device__ __forceinline__ Slope hypothesis(const Chosen *chosen, uint32_t count, uint32_t trial, double x_origin, int kind)
{
    const Chosen a = chosen[depthd_scramble(2 * trial) % count], b = chosen[depthd_scramble(2 * trial + 1) % count];
    const bool metric = kind == DEPTHD_MONO_METRIC_DEPTH;
    const double rise = metric ? (double)a.y : (double)b.y - a.y;
    const double scale = rise / (metric ? a.x + x_origin : (double)b.x - a.x);
    return {(float)scale, (float)(metric ? scale * x_origin : a.y - scale * a.x), 0.0f};
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
#pragma unroll 2
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

/* Of candidates, one a lane: the best score, the smallest trial among equals. Infinity less means none. */
struct Candidate {
    float score;
    int trial;
};

__device__ __forceinline__ Candidate best_over_lanes(Candidate mine)
{
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        const float score = __shfl_xor_sync(0xFFFFFFFFu, mine.score, offset);
        const int trial = __shfl_xor_sync(0xFFFFFFFFu, mine.trial, offset);
        if (score > mine.score || (score == mine.score && trial < mine.trial)) mine = {score, trial};
    }
    return mine;
}

/* Each cluster has its share of the hypotheses, each of its blocks a part of that, two for some warps. */
enum {
    TRIALS_OF_BLOCK = DEPTHD_HYPOTHESES / (BLOCKS * CLUSTERS),
    PAIRS = TRIALS_OF_BLOCK / 2,
    WARPS_OF_PAIR = WARPS / PAIRS,
    NO_TRIAL = DEPTHD_HYPOTHESES + 1, /* DEPTHD_HYPOTHESES itself is the earlier line */
};
static_assert(PAIRS * WARPS_OF_PAIR == WARPS && PAIRS * 2 * BLOCKS * CLUSTERS == DEPTHD_HYPOTHESES, "hypotheses do not split");

/* The best hypothesis of this block, sent to all. The earlier line is judged by the last block, all its warps together. */
__device__ __forceinline__ void send_hypotheses(const Team &team, Shared *shared, const Chosen *chosen, const Slope *earlier)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = shared->chosen_count;
    const int first_trial = (team.cluster * BLOCKS + team.rank) * TRIALS_OF_BLOCK;
    const DepthdScene scene = shared->scene;
    const bool judges_earlier = earlier && team.rank == BLOCKS - 1;
    if (count > 0) {
        const int pair = warp / WARPS_OF_PAIR, part = warp % WARPS_OF_PAIR;
        const Slope mine =
            hypothesis(chosen, count, first_trial + 2 * pair + lane % 2, shared->x_origin, shared->mono_kind);
        const bool good = is_good(mine);
        Slope two[2];
#pragma unroll
        for (int k = 0; k < 2; k++)
            two[k] = {__shfl_sync(0xFFFFFFFFu, mine.scale, k), __shfl_sync(0xFFFFFFFFu, mine.value, k), 0.0f};
        float2 scores = support_of_two(chosen, count, part * 32 + lane, WARPS_OF_PAIR * 32, two[0], two[1], scene);
        if (lane < 2) shared->scores[warp][lane] = good ? (lane ? scores.y : scores.x) : -INFINITY;
        if (judges_earlier) {
            scores = support_of_two(chosen, count, threadIdx.x, THREADS, *earlier, *earlier, scene);
            if (lane == 0) shared->scores[warp][2] = scores.x;
        }
    }
    __syncthreads();
    if (warp == 0) {
        Candidate mine = {-INFINITY, NO_TRIAL};
        if (count > 0 && lane < TRIALS_OF_BLOCK) {
            float score = 0.0f;
            for (int k = 0; k < WARPS_OF_PAIR; k++) score += shared->scores[lane / 2 * WARPS_OF_PAIR + k][lane % 2];
            if (score > -INFINITY) mine = {score, first_trial + lane};
        }
        if (TRIALS_OF_BLOCK == 32) mine = best_over_lanes(mine);
        if (count > 0 && judges_earlier && lane == 31) {
            float score = 0.0f;
            for (int w = 0; w < WARPS; w++) score += shared->scores[w][2];
            if (score > mine.score) mine = {score, DEPTHD_HYPOTHESES};
        }
        mine = best_over_lanes(mine);
        for (int to = lane; to < BLOCKS; to += 32) {
            team.send(to, 0, __float_as_uint(mine.score));
            team.send(to, 1, (uint32_t)mine.trial);
        }
    }
    team.sent(8);
}

/* By one warp: the best of this cluster. */
__device__ __forceinline__ Candidate best_of_cluster(const Team &team)
{
    const int lane = threadIdx.x % 32;
    team.receive();
    Candidate mine = {-INFINITY, NO_TRIAL};
    if (lane < BLOCKS) mine = {__uint_as_float(team.letter(lane, 0)), (int)team.letter(lane, 1)};
    return best_over_lanes(mine);
}

#if CLUSTERS > 1
/* By one warp of the first block: leaves what its cluster has found. Returns the trial to start from if all others have done so
 * too, else -1: the last cluster goes on alone, so that none ever waits for another. */
__device__ __forceinline__ int best_if_last(const Team &team, State *state, Candidate best)
{
    const int lane = threadIdx.x % 32;
    int before = 0;
    if (lane == 0) {
        state->candidates[team.cluster] = make_int2(__float_as_int(best.score), best.trial);
        __threadfence();
        before = atomicAdd(&state->clusters_done, 1);
        __threadfence();
    }
    if (__shfl_sync(0xFFFFFFFFu, before, 0) != CLUSTERS - 1) return -1;
    Candidate theirs = {-INFINITY, NO_TRIAL};
    if (lane < CLUSTERS) {
        const int2 found = __ldcg(&state->candidates[lane]);
        theirs = {__int_as_float(found.x), found.y};
    }
    if (lane == 0) state->clusters_done = 0;
    return best_over_lanes(theirs).trial;
}
#endif
