/* The whole stage of the cells in one kernel: balance, consensus, fit, memory, alignment. */
#pragma once

struct Block {
    Shared shared;
    Scratch scratch;
#if CLUSTER
    Exchange exchange;
#endif
};

/* For the host, which has to ask for this much. */
extern "C" __global__ void fusion_sizes(int *sizes)
{
    sizes[0] = sizeof(Block);
    sizes[1] = CLUSTER ? 0 : (int)sizeof(Exchange) * BLOCKS;
    sizes[2] = sizeof(State);
    sizes[3] = sizeof(Cells);
    sizes[4] = sizeof(Tables);
    sizes[5] = sizeof(Evidence);
    sizes[6] = sizeof(Settings);
    sizes[7] = sizeof(Result);
}

__device__ __forceinline__ void clear_exchange(const Team &team)
{
    clear_histogram(team, 0);
    clear_histogram(team, 1);
    for (int i = threadIdx.x; i < STRATA_PER_BLOCK; i += THREADS) put(&team.mine->strata[i], 0xFFFFFFFFu);
    for (int i = threadIdx.x; i < DEPTHD_BALANCE_BINS; i += THREADS) put(&team.mine->balance[i], 0u);
}

/* A thread's cells; the first block also has the remembered samples, whose weight is a fit's only. */
__device__ __forceinline__ void load_samples(const Team &team, const Cells *cells, const Settings *p, float end, Samples &s)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const int slot = i * THREADS + threadIdx.x;
        const int row = team.rank / TILES_ACROSS * TILE_ROWS + slot / TILE_COLUMNS;
        const int column = team.rank % TILES_ACROSS * TILE_COLUMNS + slot % TILE_COLUMNS, cell = row * COLUMNS + column;
        const bool there = slot < CELLS_PER_BLOCK && row < ROWS && column < COLUMNS;
        s.cell[i] = there ? cell : -1;
        const float fill = there ? cells->fill[cell] : 0.0f;
        s.rho[i] = there ? cells->rho[cell] : 0.0f;
        s.x[i] = there ? cells->x[cell] : 0.0f;
        s.x_all[i] = there ? cells->x_all[cell] : 0.0f;
        s.usable[i] = there && fill >= (float)DEPTHD_MINIMUM_FILL && s.rho[i] < end;
        s.calm[i] = s.usable[i] ? depthd_calm(fill, cells->variance[cell], (float)p->stereo_noise) : 0.0f;
        s.weight[i] = 0.0f;
    }
}

/* Extent and means of x, and the smallest scrambled key of each part of the picture. */
__device__ __forceinline__ void publish_extent(const Team &team, Shared *shared, const Samples &s)
{
    float low = INFINITY, high = -INFINITY, sums[8] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (!s.usable[i]) continue;
        low = fminf(low, s.x[i]);
        high = fmaxf(high, s.x[i]);
        sums[0] += 1.0f;
        sums[1] += s.x[i];
        sums[2] += s.rho[i];
        const int stratum = stratum_of(s.cell[i]);
        atomicMin(&team.of(stratum % BLOCKS)->strata[stratum / BLOCKS], depthd_scramble((uint32_t)s.cell[i]));
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        low = fminf(low, __shfl_xor_sync(0xFFFFFFFFu, low, offset));
        high = fmaxf(high, __shfl_xor_sync(0xFFFFFFFFu, high, offset));
    }
    if (threadIdx.x % 32 == 0) {
        shared->scores[threadIdx.x / 32][0] = low;
        shared->scores[threadIdx.x / 32][1] = high;
    }
    publish_sums<8>(team, shared, sums, 0); /* which waits for all warps of this block */
    if (threadIdx.x >= 32) return;
    low = threadIdx.x < WARPS ? shared->scores[threadIdx.x][0] : INFINITY;
    high = threadIdx.x < WARPS ? shared->scores[threadIdx.x][1] : -INFINITY;
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        low = fminf(low, __shfl_xor_sync(0xFFFFFFFFu, low, offset));
        high = fmaxf(high, __shfl_xor_sync(0xFFFFFFFFu, high, offset));
    }
    if (threadIdx.x == 0) {
        put(&team.mine->low, low);
        put(&team.mine->high, high);
    }
}

/* By one warp. The origins are those of all blocks: near the means, and the same everywhere. */
__device__ __forceinline__ void collect_extent(const Team &team, Shared *shared)
{
    collect_sums<8>(team, shared, 0);
    float low = INFINITY, high = -INFINITY;
    if (threadIdx.x < BLOCKS) {
        low = take(&team.of(threadIdx.x)->low);
        high = take(&team.of(threadIdx.x)->high);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        low = fminf(low, __shfl_xor_sync(0xFFFFFFFFu, low, offset));
        high = fmaxf(high, __shfl_xor_sync(0xFFFFFFFFu, high, offset));
    }
    if (threadIdx.x != 0) return;
    const double count = shared->sums[0], safe = count > 0.0 ? count : 1.0, span = (double)high - low;
    shared->count = (int)count;
    shared->x_origin = (float)(shared->sums[1] / safe);
    shared->rho_origin = (float)(shared->sums[2] / safe);
    if (count > 0.0) shared->scene.softening = (float)(DEPTHD_SOFTENING * shared->sums[2] / safe);
    shared->low = (float)(low - shared->x_origin);
    shared->bins_per_x = (float)(DEPTHD_BALANCE_BINS / (span > 1e-12 ? span : 1e-12));
}

/* After the samples' x is counted from the origin: how many fall into each range. */
__device__ __forceinline__ void publish_balance(const Team &team, Shared *shared, Samples &s)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        s.x[i] = (float)(s.x[i] - shared->x_origin);
        s.x_all[i] = (float)(s.x_all[i] - shared->x_origin);
        const int bin = s.usable[i] ? balance_bin(s.x[i], shared) : DEPTHD_BALANCE_BINS;
        const unsigned int alike = __match_any_sync(0xFFFFFFFFu, bin);
        if (bin < DEPTHD_BALANCE_BINS && (int)(threadIdx.x % 32) == __ffs(alike) - 1)
            atomicAdd(&team.mine->balance[bin], (uint32_t)__popc(alike));
    }
}

/* By one warp: how much less a sample of a crowded range counts. */
__device__ __forceinline__ void collect_balance(const Team &team, Shared *shared)
{
    if (threadIdx.x >= DEPTHD_BALANCE_BINS) return;
    uint32_t count = 0;
#pragma unroll
    for (int r = 0; r < BLOCKS; r++) count += take(&team.of((r + team.rank) % BLOCKS)->balance[threadIdx.x]);
    const float floor = (float)DEPTHD_BALANCE_FLOOR * shared->count, mean = (float)shared->count / DEPTHD_BALANCE_BINS;
    shared->balance[threadIdx.x] = 1.0f / sqrtf(fmaxf((float)count, floor) / fmaxf(mean, 1e-6f));
}

/* By one warp: whether less than CUT_SHARE of what is remembered agrees with where the fit starts. */
__device__ __forceinline__ bool scene_was_cut(const State *state, const Shared *shared)
{
    const int bin = threadIdx.x;
    const double weight = state->samples[0][bin];
    float2 shares = make_float2(0.0f, 0.0f);
    if (weight > 1e-3)
        shares = agreement_of(shared->slope, (float)(state->samples[1][bin] / weight - shared->x_origin),
                              (float)(state->samples[2][bin] / weight), (float)weight, shared);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        shares.x += __shfl_xor_sync(0xFFFFFFFFu, shares.x, offset);
        shares.y += __shfl_xor_sync(0xFFFFFFFFu, shares.y, offset);
    }
    return shares.x > 0.0f && shares.y < (float)DEPTHD_CUT_SHARE * shares.x;
}

/* Puts the remembered samples into the slots behind the first block's cells. */
__device__ __forceinline__ void recall(const Team &team, const State *state, const Shared *shared, Samples &s)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const int bin = i * THREADS + threadIdx.x - CELLS_PER_BLOCK;
        if (team.rank != 0 || bin < 0 || bin >= DEPTHD_MEMORY_BINS) continue;
        const double weight = state->samples[0][bin];
        if (!(weight > 1e-3)) continue;
        s.x[i] = (float)(state->samples[1][bin] / weight - shared->x_origin);
        s.rho[i] = (float)(state->samples[2][bin] / weight);
        s.weight[i] = (float)weight;
    }
}

/* The share of this frame's samples that agrees with a line; by all threads of all blocks. */
__device__ __forceinline__ double agreeing_share(const Team &team, Shared *shared, const Samples &s)
{
    float sums[8] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const float2 shares = agreement_of(shared->slope, s.x[i], s.rho[i], s.weight[i], shared);
        sums[0] += shares.x;
        sums[1] += shares.y;
    }
    publish_sums<8>(team, shared, sums, 1);
    team.wait_for_all();
    if (threadIdx.x < 32) collect_sums<8>(team, shared, 1);
    __syncthreads();
    return shared->sums[0] > 0.0 ? shared->sums[1] / shared->sums[0] : 1.0;
}

__device__ __forceinline__ void set_line(Shared *shared, const Line &line)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        shared->line = line;
        shared->slope = slope_of(line, shared);
        shared->noise = line.noise;
    }
    __syncthreads();
}

/* Where to start; shared->decision says whether the scene was cut. False if there is nothing to start from. */
__device__ __forceinline__ bool find_start(const Team &team, Shared *shared, Scratch *scratch, const Settings *p,
                                           const State *state, const Cells *cells, Samples &s)
{
    list_chosen(team, shared, cells, (float)p->stereo_noise, scratch->chosen);
    publish_balance(team, shared, s);
    team.wait_for_all();
    if (threadIdx.x < 32) collect_balance(team, shared);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        if (s.usable[i]) s.weight[i] = s.calm[i] * shared->balance[balance_bin(s.x[i], shared)];
    for (int i = threadIdx.x; i < shared->chosen_count; i += THREADS) {
        scratch->chosen[i].z *= shared->balance[balance_bin(scratch->chosen[i].x, shared)];
        scratch->chosen[i].w = scratch->chosen[depthd_scramble((uint32_t)i) % (uint32_t)shared->chosen_count].y;
    }
    __syncthreads();
    const Slope earlier = slope_of(state->line, shared);
    judge_hypotheses(team, shared, scratch->chosen, state->has_line ? &earlier : nullptr);
    team.wait_for_all();
    if (threadIdx.x < 32) {
        const int winner = best_of_all(team);
        if (threadIdx.x == 0) {
            Line line = {};
            line.noise = DEPTHD_MONO_NOISE_START;
            line.pearson_r = NAN;
            shared->trials[0] = winner;
            if (winner <= DEPTHD_HYPOTHESES) {
                const Slope best = winner == DEPTHD_HYPOTHESES ? earlier
                                                               : hypothesis(scratch->chosen, shared->chosen_count, winner,
                                                                            shared->x_origin, shared->mono_kind);
                line.scale = best.scale;
                line.shift = best.value - line.scale * shared->x_origin;
            }
            shared->line = line;
            shared->slope = slope_of(line, shared);
        }
        __syncwarp();
        const bool cut = shared->trials[0] <= DEPTHD_HYPOTHESES && scene_was_cut(state, shared);
        if (threadIdx.x == 0) shared->decision = cut;
    }
    __syncthreads();
    return shared->trials[0] <= DEPTHD_HYPOTHESES;
}

/* The line of this frame in shared->line, if it is good enough to be published. */
__device__ __forceinline__ bool fit_frame(const Team &team, Shared *shared, Scratch *scratch, const Settings *p,
                                          const State *state, const Cells *cells, Samples &s)
{
    if (!find_start(team, shared, scratch, p, state, cells, s)) return false;
    if (!shared->decision) recall(team, state, shared, s);
    for (int k = 0; k < DEPTHD_FIT_ITERATIONS; k++) fit_step(team, shared, p, s, s.rho, 0);
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        if (s.cell[i] < 0) s.weight[i] = 0.0f;
    publish_judgement(team, shared, p, s, s.rho, 0);
    team.wait_for_all();
    clear_histogram(team, 0);
    if (threadIdx.x < 32) collect_judgement(team, shared, p, 0);
    __syncthreads();
    return is_acceptable(shared->line, agreement_beyond_chance(shared, scratch->chosen), p);
}

/* By one thread: what the merge needs. */
__device__ __forceinline__ void hand_over(State *state, const Shared *shared, const Settings *p, bool fitted)
{
    DepthdMergeParameters m;
    m.scale = fitted ? (float)state->aligned.scale : 0.0f;
    m.shift = fitted ? (float)state->aligned.shift : 0.0f;
    m.mono_noise = (float)shared->noise;
    m.stereo_noise = (float)p->stereo_noise;
    m.softening = shared->scene.softening;
    m.stereo_minimum_m = (float)(1.0 / p->stereo_inverse_maximum);
    m.stereo_maximum_m = (float)(1.0 / p->stereo_inverse_minimum);
    m.inverse_minimum = (float)p->inverse_minimum;
    m.inverse_maximum = (float)p->inverse_maximum;
    m.gate_sigmas = (float)p->gate_sigmas;
    m.gate_minimum = (float)p->gate_minimum;
    m.far_claim_factor = (float)p->far_claim_factor;
    state->merge = m;
    state->fitted = fitted;
    state->value_variance = (float)state->aligned.value_variance;
    state->scale_variance = (float)state->aligned.scale_variance;
    state->pivot = (float)state->aligned.pivot;
}

#if CLUSTER
#define CLUSTER_SIZE __cluster_dims__(BLOCKS, 1, 1)
#else
#define CLUSTER_SIZE
#endif

extern "C" __global__ void CLUSTER_SIZE __launch_bounds__(THREADS) fusion_solve(
    const Settings *__restrict__ p, State *state, Cells *cells, const Tables *__restrict__ tables, Evidence *memory,
    Exchange *device_memory, Result *result)
{
    extern __shared__ __align__(16) unsigned char dynamic[];
    Block *block = (Block *)dynamic;
    Shared *shared = &block->shared;
    Team team;
    team.rank = rank_of_block();
#if CLUSTER
    team.mine = &block->exchange;
#else
    team.mine = device_memory + team.rank;
#endif
    team.device_memory = device_memory;
    team.arrived = &state->arrived;

    clear_exchange(team);
    const double end = DEPTHD_RANGE_END * __uint_as_float(state->largest);
    if (threadIdx.x == 0) {
        shared->scene = {(float)end, (float)state->softening, (float)p->stereo_noise, (float)p->inverse_minimum};
        shared->inverse_maximum = (float)p->inverse_maximum;
        shared->mono_kind = p->mono_kind;
        shared->decision = 0;
        shared->chosen_count = 0;
        shared->noise = 0.0;
    }
    Samples s;
    load_samples(team, cells, p, (float)end, s);
    team.wait_for_all();
    publish_extent(team, shared, s);
    team.wait_for_changes();
    if (threadIdx.x < 32) collect_extent(team, shared);
    __syncthreads();

    const bool fresh = fit_frame(team, shared, &block->scratch, p, state, cells, s);
    const bool forget = shared->decision;
    const int age = fresh ? 0 : state->age_frames + 1;
    bool has_line = fresh || (state->has_line && age <= p->maximum_age_frames);
    const Line published = fresh ? shared->line : state->line;
    int status = fresh ? FITTED : has_line ? HELD : UNFIT;
    if (status == HELD) {
        set_line(shared, state->line);
        if (agreeing_share(team, shared, s) < p->minimum_inlier_share) status = UNFIT;
    }
    Line start = published;
    if (status == HELD) start = state->aligned;
    Aligned a;
    if (status != UNFIT) {
        set_line(shared, start);
        if (status == HELD) {
            team.wait_for_all();
            clear_histogram(team, 0);
            __syncthreads();
        }
        align(team, shared, &block->scratch, p, state, tables, memory, s, a, status == FITTED);
    } else if (forget) {
        for (int i = threadIdx.x + team.rank * THREADS; i < FLAT_COUNT * DEPTHD_GRID_LEVELS; i += BLOCKS * THREADS)
            memory->nodes[0][i] = make_float2(0.0f, 0.0f);
        for (int i = threadIdx.x + team.rank * THREADS; i < FLAT_COUNT; i += BLOCKS * THREADS)
            memory->level_sums[i] = make_float2(0.0f, 0.0f);
    }
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (s.cell[i] < 0) continue;
        cells->weight[s.cell[i]] = s.weight[i];
        if (status != UNFIT)
            cells->aligned[s.cell[i]] =
                make_float4(a.correction[i], a.trust[i], a.trust[i] * (a.error[i] - a.correction[i]), s.calm[i]);
    }
    team.wait_for_all(); /* nobody reads the state, or another's memory, from here on */
    if (team.rank != 0 || threadIdx.x != 0) return;
    const Line none = {NAN, NAN, NAN, 0.0, 0.0, NAN, 0.0, 0.0, 0.0};
    state->line = published;
    if (status == FITTED) state->aligned = shared->line;
    state->has_line = has_line;
    state->age_frames = age;
    state->forget = forget;
    state->remember = fresh;
    state->end = end;
    state->softening = shared->scene.softening;
    state->global_noise = (float)start.noise;
    state->largest = 0;
    hand_over(state, shared, p, status != UNFIT);
    result->line = status == UNFIT ? none : published;
    result->status = status;
    result->sample_count = shared->count;
    result->age_frames = age;
    for (int k = 0; k < 6; k++) result->pixels_per_source[k] = 0;
}
