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

/* Everything that is added up into. */
__device__ __forceinline__ void clear_exchange(const Team &team, Shared *shared)
{
    for (int i = threadIdx.x; i < 3 * KEPT_BINS; i += THREADS) shared->histogram[0][i] = 0;
    for (int i = threadIdx.x; i < STRATA_COUNT; i += THREADS) put(&team.mine->strata[i], 0xFFFFFFFFu);
    for (int i = threadIdx.x; i < DEPTHD_BALANCE_BINS; i += THREADS) shared->balance_counts[i] = 0;
    clear_evidence(team, 0);
    clear_evidence(team, 1);
#if CLUSTER
    if (threadIdx.x < 2) make_barrier(&team.mine->letters.arrived[threadIdx.x]);
#endif
}

/* A thread's cells; the first block also has the remembered samples, whose weight is a fit's only. */
__device__ __forceinline__ void load_samples(const Team &team, const Cells *cells, float stereo_noise, float end, Samples &s)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const int slot = i * THREADS + threadIdx.x;
        const int row = top_of(team) + slot / TILE_COLUMNS, column = left_of(team) + slot % TILE_COLUMNS;
        const bool there = slot < CELLS_PER_BLOCK && row < ROWS && column < COLUMNS;
        const int cell = there ? row * COLUMNS + column : 0;
        const float fill = cells->fill[cell], variance = cells->variance[cell];
        s.cell[i] = there ? cell : -1;
        s.rho[i] = there ? cells->rho[cell] : 0.0f;
        s.x[i] = there ? cells->x[cell] : 0.0f;
        s.x_all[i] = there ? cells->x_all[cell] : 0.0f;
        s.usable[i] = there && fill >= (float)DEPTHD_MINIMUM_FILL && s.rho[i] < end;
        s.calm[i] = there && fill >= (float)DEPTHD_MINIMUM_FILL ? depthd_calm(fill, variance, stereo_noise) : 0.0f;
        s.weight[i] = 0.0f;
    }
}

/* A number whose order is that of the floats. */
__device__ __forceinline__ uint32_t in_order(float value)
{
    const uint32_t bits = __float_as_uint(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float out_of_order(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/* Extent and means of x, and the smallest scrambled key of each part of the picture. */
__device__ __forceinline__ void send_extent(const Team &team, Shared *shared, const Samples &s)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    uint32_t low = 0xFFFFFFFFu, high = 0;
    float sums[4] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (!s.usable[i]) continue;
        low = min(low, in_order(s.x[i]));
        high = max(high, in_order(s.x[i]));
        sums[0] += 1.0f;
        sums[1] += s.x[i];
        sums[2] += s.rho[i];
        atomicMin(&team.mine->strata[stratum_of(s.cell[i])], depthd_scramble((uint32_t)s.cell[i]));
    }
    low = __reduce_min_sync(0xFFFFFFFFu, low);
    high = __reduce_max_sync(0xFFFFFFFFu, high);
    if (lane == 0) {
        shared->extents[warp][0] = low;
        shared->extents[warp][1] = high;
    }
    const float all = add_over_block<4>(shared, sums); /* which waits for all warps of this block */
    low = __reduce_min_sync(0xFFFFFFFFu, shared->extents[lane % WARPS][0]);
    high = __reduce_max_sync(0xFFFFFFFFu, shared->extents[lane % WARPS][1]);
    const uint32_t word = lane < 4 ? __float_as_uint(all) : lane == 4 ? low : high;
    for (int to = warp; to < BLOCKS; to += WARPS)
        if (lane < 6) team.send(to, lane, word);
    team.sent(24);
}

/* By one warp. The origins are those of all blocks: near the means, and the same everywhere. */
__device__ __forceinline__ void collect_extent(const Team &team, Shared *shared)
{
    const int lane = threadIdx.x % 32;
    const double sum = collect_sums<4>(team);
    const double count = __shfl_sync(0xFFFFFFFFu, sum, 0), x = __shfl_sync(0xFFFFFFFFu, sum, 1);
    const double rho = __shfl_sync(0xFFFFFFFFu, sum, 2);
    const uint32_t lowest = __reduce_min_sync(0xFFFFFFFFu, team.letter(lane % BLOCKS, 4));
    const uint32_t highest = __reduce_max_sync(0xFFFFFFFFu, team.letter(lane % BLOCKS, 5));
    if (lane != 0) return;
    const double share = count > 0.0 ? reciprocal(count) : 1.0;
    const float low = count > 0.0 ? out_of_order(lowest) : 0.0f, high = count > 0.0 ? out_of_order(highest) : 0.0f;
    const float span = high - low;
    shared->count = (int)count;
    shared->x_origin = (float)(x * share);
    shared->rho_origin = (float)(rho * share);
    if (count > 0.0) shared->scene.softening = (float)(DEPTHD_SOFTENING * rho * share);
    shared->low = (float)(low - shared->x_origin);
    shared->bins_per_x = DEPTHD_BALANCE_BINS / (span > 1e-12f ? span : 1e-12f);
}

/* After the samples' x is counted from the origin: how many fall into each range, sent to all. */
__device__ __forceinline__ void send_balance(const Team &team, Shared *shared, Samples &s)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        s.x[i] = (float)(s.x[i] - shared->x_origin);
        s.x_all[i] = (float)(s.x_all[i] - shared->x_origin);
        const int bin = s.usable[i] ? balance_bin(s.x[i], shared) : DEPTHD_BALANCE_BINS;
        const unsigned int alike = __match_any_sync(0xFFFFFFFFu, bin);
        if (bin < DEPTHD_BALANCE_BINS && (int)(threadIdx.x % 32) == __ffs(alike) - 1)
            atomicAdd(&shared->balance_counts[bin], (uint32_t)__popc(alike));
    }
    __syncthreads();
    const int lane = threadIdx.x % 32;
    for (int to = threadIdx.x / 32; to < BLOCKS; to += WARPS)
        if (lane < DEPTHD_BALANCE_BINS) team.send(to, lane, shared->balance_counts[lane]);
    team.sent(4 * DEPTHD_BALANCE_BINS);
}

/* By one warp: how much less a sample of a crowded range counts. */
__device__ __forceinline__ void collect_balance(const Team &team, Shared *shared)
{
    team.receive();
    if (threadIdx.x >= DEPTHD_BALANCE_BINS) return;
    uint32_t count = 0;
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) count += team.letter(block, threadIdx.x);
    const float floor = (float)DEPTHD_BALANCE_FLOOR * shared->count, mean = (float)shared->count / DEPTHD_BALANCE_BINS;
    shared->balance[threadIdx.x] = 1.0f / sqrtf(fmaxf((float)count, floor) / fmaxf(mean, 1e-6f));
}

/* By one warp: whether less than CUT_SHARE of what is remembered agrees with where the fit starts. */
__device__ __forceinline__ bool scene_was_cut(const State *state, const Shared *shared)
{
    const int bin = threadIdx.x;
    const double weight = state->remembered(0, bin);
    float2 shares = make_float2(0.0f, 0.0f);
    if (weight > 1e-3)
        shares = agreement_of(shared->slope, (float)(state->remembered(1, bin) / weight - shared->x_origin),
                              (float)(state->remembered(2, bin) / weight), (float)weight, shared);
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
        const double weight = state->remembered(0, bin);
        if (!(weight > 1e-3)) continue;
        s.x[i] = (float)(state->remembered(1, bin) / weight - shared->x_origin);
        s.rho[i] = (float)(state->remembered(2, bin) / weight);
        s.weight[i] = (float)weight;
    }
}

/* The share of this frame's samples that agrees with a line; by all threads of all blocks. */
__device__ __forceinline__ double agreeing_share(Team &team, Shared *shared, const Samples &s)
{
    float sums[4] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const float2 shares = agreement_of(shared->slope, s.x[i], s.rho[i], s.weight[i], shared);
        sums[0] += shares.x;
        sums[1] += shares.y;
    }
    send_sums<4>(team, shared, sums);
    team.sent(4 * 4);
    if (threadIdx.x < 32) {
        const double sum = collect_sums<4>(team);
        if (threadIdx.x < 2) shared->sums[threadIdx.x] = sum;
    }
    __syncthreads();
    team.turn++;
    return shared->sums[0] > 0.0 ? shared->sums[1] / shared->sums[0] : 1.0;
}

__device__ __forceinline__ void set_line(Shared *shared, const Line &line)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        shared->line = line;
        shared->slope = slope_of(line, shared);
    }
    __syncthreads();
}

/* By one warp: the line through the winner, and whether the scene was cut. */
__device__ __forceinline__ void set_start(Shared *shared, const Chosen *chosen, const State *state, const Slope &earlier,
                                          int winner)
{
    if (threadIdx.x == 0) {
        Line line = {};
        line.noise = DEPTHD_MONO_NOISE_START;
        line.pearson_r = NAN;
        if (winner <= DEPTHD_HYPOTHESES) {
            const Slope best = winner == DEPTHD_HYPOTHESES
                                   ? earlier
                                   : hypothesis(chosen, shared->chosen_count, winner, shared->x_origin, shared->mono_kind);
            line.scale = best.scale;
            line.shift = best.value - line.scale * shared->x_origin;
        }
        shared->line = line;
        shared->slope = slope_of(line, shared);
    }
    __syncwarp();
    const bool cut = winner <= DEPTHD_HYPOTHESES && scene_was_cut(state, shared);
    if (threadIdx.x == 0) shared->decision = cut;
}

/* Where to start; shared->decision says whether the scene was cut. Leaves in shared->winner the trial, NO_TRIAL if there is
 * nothing to start from, or -1 if another cluster goes on. */
__device__ __forceinline__ void find_start(Team &team, Shared *shared, Scratch *scratch, const Settings *p, State *state,
                                           const Cells *cells, Samples &s)
{
    list_chosen(team, shared, cells, (float)p->stereo_noise, scratch->chosen);
    send_balance(team, shared, s);
    if (threadIdx.x < 32) collect_balance(team, shared);
    __syncthreads();
    team.turn++;
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
        if (s.usable[i]) s.weight[i] = s.calm[i] * shared->balance[balance_bin(s.x[i], shared)];
    for (int i = threadIdx.x; i < shared->chosen_count; i += THREADS) {
        scratch->chosen[i].z *= shared->balance[balance_bin(scratch->chosen[i].x, shared)];
        scratch->chosen[i].w = scratch->chosen[depthd_scramble((uint32_t)i) % (uint32_t)shared->chosen_count].y;
    }
    __syncthreads();
    const Slope earlier = slope_of(state->line, shared);
    send_hypotheses(team, shared, scratch->chosen, state->has_line ? &earlier : nullptr);
#if CLUSTERS > 1
    int trial = 0;
    if (threadIdx.x < 32 && team.rank == 0) trial = best_if_last(team, state, best_of_cluster(team));
    else if (threadIdx.x < 32) team.receive();
    __syncthreads();
    team.turn++;
    if (team.rank == 0 && threadIdx.x < BLOCKS) team.send(threadIdx.x, 0, (uint32_t)trial);
    if (threadIdx.x == 0) expect_bytes(&team.mine->letters.arrived[team.turn & 1], 4);
    if (threadIdx.x < 32) {
        team.receive();
        trial = (int)team.letter(0, 0);
    }
#else
    const int trial = threadIdx.x < 32 ? best_of_cluster(team).trial : 0;
#endif
    if (threadIdx.x < 32 && trial >= 0) set_start(shared, scratch->chosen, state, earlier, trial);
    if (threadIdx.x == 0) shared->winner = trial;
    __syncthreads();
    team.turn++;
}

/* By one thread: what the merge needs. */
__device__ __forceinline__ void hand_over(State *state, const Shared *shared, const Settings *p, bool fitted)
{
    DepthdMergeParameters m;
    m.scale = fitted ? (float)state->aligned.scale : 0.0f;
    m.shift = fitted ? (float)state->aligned.shift : 0.0f;
    m.mono_noise = shared->slope.noise;
    m.stereo_noise = (float)p->stereo_noise;
    m.softening = shared->scene.softening;
    m.stereo_minimum_m = (float)(1.0 / p->stereo_inverse_maximum);
    m.stereo_maximum_m = (float)(1.0 / p->stereo_inverse_minimum);
    m.inverse_minimum = (float)p->inverse_minimum;
    m.inverse_maximum = (float)p->inverse_maximum;
    m.gate_sigmas = (float)p->gate_sigmas;
    m.gate_minimum = (float)p->gate_minimum;
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
    Scratch *scratch = &block->scratch;
    Team team;
#if CLUSTER
    team.rank = rank_in_cluster();
    team.mine = &block->exchange;
#else
    team.rank = blockIdx.x;
    team.mine = device_memory + team.rank;
#endif
    team.cluster = blockIdx.x / BLOCKS;
    team.turn = team.step = 0;
    team.device_memory = device_memory;
    team.arrived = &state->arrived;

    clear_exchange(team, shared);
    load_surroundings(team, scratch, tables);
#if CLUSTER
    arrive_at_cluster();
#endif
    wait_for_last();
    const double end = DEPTHD_RANGE_END * __uint_as_float(state->largest);
    if (threadIdx.x == 0) {
        shared->scene = {(float)end, (float)state->softening, (float)p->stereo_noise, (float)p->inverse_minimum};
        shared->inverse_maximum = (float)p->inverse_maximum;
        shared->mono_kind = p->mono_kind;
        shared->decision = 0;
        shared->chosen_count = 0;
    }
    Samples s;
    load_samples(team, cells, (float)p->stereo_noise, (float)end, s);
#if CLUSTER
    wait_after_arrival(); /* no letter comes before its barrier is made */
    __syncthreads();
#else
    team.wait_for_all();
#endif
    send_extent(team, shared, s);
    if (threadIdx.x < 32) collect_extent(team, shared);
    team.wait_for_all(); /* the strata are those of all */
    team.turn++;
    find_start(team, shared, scratch, p, state, cells, s);
    if (shared->winner < 0) {
        team.wait_for_all();
        return;
    }
    let_next_begin();
    if (shared->winner != NO_TRIAL && !shared->decision) recall(team, state, shared, s);

    /* Line and correction take turns: round -1 fits the line alone. */
    const bool forget = shared->decision;
    bool fresh = false, has_line = false;
    int status = UNFIT, age = 0;
    double global_noise = 0.0;
    Aligned a;
    Gathering g;
    float rho[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        rho[i] = s.rho[i];
        a.correction[i] = a.trust[i] = a.error[i] = a.level[i] = 0.0f;
    }
#pragma unroll 1
    for (int round = shared->winner == NO_TRIAL ? 0 : -1; round < DEPTHD_ALIGNMENT_ROUNDS; round++) {
        if (round == 0) {
            age = fresh ? 0 : state->age_frames + 1;
            has_line = fresh || (state->has_line && age <= p->maximum_age_frames);
            status = fresh ? FITTED : has_line ? HELD : UNFIT;
            if (status == HELD) {
                set_line(shared, state->line);
                if (agreeing_share(team, shared, s) < p->minimum_inlier_share) status = UNFIT;
                if (status == HELD) set_line(shared, state->aligned);
            }
            if (status == UNFIT) break;
            global_noise = shared->line.noise;
            if (fresh && team.rank == 0 && threadIdx.x == 0) state->line = shared->line;
            __syncthreads();
            prepare_gathering(scratch, memory, forget ? 0.0f : (float)p->alignment_decay, g);
        }
        if (round >= 0) {
            align_round(team, shared, scratch, s, a, g, round);
            if (status == HELD || round == DEPTHD_ALIGNMENT_ROUNDS - 1) continue;
#pragma unroll
            for (int i = 0; i < ITEMS; i++)
                rho[i] = s.rho[i] - a.correction[i] * depthd_unit(shared->slope.at(s.x[i]), shared->scene);
        }
        const int steps = round < 0 ? DEPTHD_FIT_ITERATIONS : DEPTHD_REFIT_ITERATIONS;
#pragma unroll 1
        for (int k = 0; k < steps; k++) fit_step(team, shared, s, rho);
        if (round >= 0 && round != DEPTHD_ALIGNMENT_ROUNDS - 2) continue;
        judge(team, shared, p, s, rho);
        if (round >= 0) continue;
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
            if (s.cell[i] < 0) s.weight[i] = 0.0f;
        fresh = is_acceptable(shared->line, agreement_beyond_chance(shared, scratch->chosen), p);
    }
    if (status != UNFIT) {
        send_errors(team, shared, scratch, s, a);
        keep_evidence(team, scratch, memory, g);
        collect_alignment_noise(team, shared);
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
    if (status == FITTED) state->aligned = shared->line;
    state->has_line = has_line;
    state->age_frames = age;
    state->forget = forget;
    state->remember = fresh;
    state->end = end;
    state->softening = shared->scene.softening;
    state->global_noise = (float)global_noise;
    state->largest = 0;
    hand_over(state, shared, p, status != UNFIT);
    state->carries_predicted = state->has_predicted && !forget;
    state->has_predicted = status != UNFIT || state->carries_predicted;
    if (status != UNFIT) state->predicted_turn ^= 1;
    result->line = status == UNFIT ? none : state->line;
    result->status = status;
    result->sample_count = shared->count;
    result->age_frames = age;
    for (int k = 0; k < 6; k++) result->pixels_per_source[k] = 0;
}
