/* 5. Align locally: a bilateral grid of the line's relative error. */
#pragma once

#define NODES_PER_CELL ((float)(1.0 / (GRID_STEP)))

/* The nodes that one block smooths, with the neighbours that this needs. */
enum {
    NEAR_ROWS = TILE_GRID_ROWS + 2,
    NEAR_COLUMNS = TILE_GRID_COLUMNS + 2,
    WIDE_COLUMNS = TILE_GRID_COLUMNS + 2 * DEPTHD_WIDE_PASSES,
};

/* The first of these nodes. */
struct Corner {
    int row, column;
};

/* Scratch of a block; what is used at different times lies in the same place. */
union Scratch {
    Chosen chosen[STRATA_COUNT];
    float2 levels[WARPS][DEPTHD_GRID_LEVELS][32]; /* of each lane */
    struct {
        __align__(16) float2 evidence[NEAR_ROWS][NEAR_COLUMNS][DEPTHD_GRID_LEVELS];
        float2 near[TILE_NODES][DEPTHD_GRID_LEVELS];
        float smooth[TILE_GRID_ROWS][TILE_GRID_COLUMNS][DEPTHD_GRID_LEVELS]; /* correction */
        float2 level_sums[FLAT_COUNT];
        float2 wide[TILE_GRID_ROWS][WIDE_COLUMNS];
        float column[TILE_NODES];
    } grid;
};

/* What an aligned cell is, in registers. */
struct Aligned {
    float correction[ITEMS], trust[ITEMS], error[ITEMS], level[ITEMS];
};

/* Trust and relative error of every cell; their histogram is published. */
__device__ __forceinline__ void publish_errors(const Team &team, const Shared *shared, const Samples &s,
                                               Aligned &a, double noise, int turn)
{
    const DepthdScene scene = shared->scene;
    const float maximum = shared->inverse_maximum;
    const Slope slope = shared->slope;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (s.cell[i] < 0) continue;
        const DepthdCellError cell =
            depthd_cell_error(s.rho[i], slope.at(s.x[i]), a.correction[i], s.calm[i], (float)noise, scene);
        a.trust[i] = s.usable[i] ? cell.trust : 0.0f;
        a.error[i] = s.usable[i] ? cell.error : 0.0f;
        a.level[i] = depthd_level(slope.at(s.x_all[i]), scene.inverse_minimum, maximum) * (DEPTHD_GRID_LEVELS - 1);
        if (s.usable[i]) count_error(team, turn, cell.place, cell.bin_weight);
        put(&team.mine->cells[i * THREADS + threadIdx.x],
            make_float4(a.trust[i], a.trust[i] * a.error[i], a.level[i], 0.0f));
    }
    publish_histogram(team, turn);
}

__device__ __forceinline__ int lower_level(float level) { return min((int)level, DEPTHD_GRID_LEVELS - 2); }

/* By one warp: adds to a lane's own levels what a cell says to a node `nearness` away. */
__device__ __forceinline__ void add_to_levels(float2 (*levels)[32], float4 cell, float nearness)
{
    const int lane = threadIdx.x % 32, lower = lower_level(cell.z);
    const float up = cell.z - lower, weight = cell.x * nearness, error = cell.y * nearness;
    float2 below = levels[lower][lane], above = levels[lower + 1][lane];
    below.x += error * (1.0f - up);
    below.y += weight * (1.0f - up);
    above.x += error * up;
    above.y += weight * up;
    levels[lower][lane] = below;
    levels[lower + 1][lane] = above;
}

/* By one warp: what this block's cells say about one node of the picture, level by level. In each lane: the value `lane` of
 * {weighted error, weight} of level 0, of level 1, ... */
__device__ __forceinline__ float gather_node(const Team &team, float2 (*levels)[32], int row, int column)
{
    const int lane = threadIdx.x % 32;
    const float step = (float)(GRID_STEP);
    const int top = team.rank / TILES_ACROSS * TILE_ROWS, left = team.rank % TILES_ACROSS * TILE_COLUMNS;
    const int x0 = max(left, (int)ceilf((column - 1) * step - 0.501f));
    const int x1 = min(min(left + TILE_COLUMNS, COLUMNS), (int)ceilf((column + 1) * step));
    const int y0 = max(top, (int)ceilf((row - 1) * step - 0.501f));
    const int y1 = min(min(top + TILE_ROWS, ROWS), (int)ceilf((row + 1) * step));
    const int wide = max(x1 - x0, 1), count = max(x1 - x0, 0) * max(y1 - y0, 0);
#pragma unroll
    for (int l = 0; l < DEPTHD_GRID_LEVELS; l++) levels[l][lane] = make_float2(0.0f, 0.0f);
    enum { AT_ONCE = 4 };
    for (int first = lane; first < count; first += 32 * AT_ONCE) {
        float4 cells[AT_ONCE];
        float nearness[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const int i = first + 32 * k;
            nearness[k] = 0.0f;
            cells[k] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (i >= count) continue;
            const int y = y0 + i / wide, x = x0 + i % wide;
            cells[k] = take(&team.mine->cells[(y - top) * TILE_COLUMNS + x - left]);
            nearness[k] = fmaxf(0.0f, 1.0f - fabsf((x + 0.5f) * NODES_PER_CELL - column)) *
                          fmaxf(0.0f, 1.0f - fabsf((y + 0.5f) * NODES_PER_CELL - row));
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (nearness[k] * cells[k].x > 0.0f) add_to_levels(levels, cells[k], nearness[k]);
    }
    __syncwarp();
    /* Sum over the lanes: each lane takes one value of one level, and begins where no other lane is reading. */
    const float *flat = (const float *)levels[lane / 2];
    float sum = 0.0f;
#pragma unroll 8
    for (int k = 0; k < 32; k++) sum += flat[2 * ((k + lane / 2) % 32) + lane % 2];
    __syncwarp();
    return sum;
}

/* What this block's cells say about the nodes that they lie between. */
__device__ __forceinline__ void publish_evidence(const Team &team, float2 (*levels)[DEPTHD_GRID_LEVELS][32], Corner corner)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int node = warp; node < TILE_NODES; node += WARPS) {
        const int row = corner.row + node / TILE_GRID_COLUMNS, column = corner.column + node % TILE_GRID_COLUMNS;
        float value = gather_node(team, levels[warp], row, column);
        put((float *)team.mine->evidence[node] + lane, value);
#pragma unroll
        for (int offset = 16; offset > 1; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
        if (lane < 2) put((float *)&team.mine->level_sums[node] + lane, value);
    }
}

__device__ __forceinline__ float2 weighed(float2 a, float2 b, float2 c)
{
    return make_float2(0.25f * a.x + 0.5f * b.x + 0.25f * c.x, 0.25f * a.y + 0.5f * b.y + 0.25f * c.y);
}

/* The first node of each tile. */
__device__ __forceinline__ void find_corners(Shared *shared, const Tables *tables)
{
    if (threadIdx.x < TILES_DOWN)
        shared->first_rows[threadIdx.x] = tables->grid_y[min((int)threadIdx.x * TILE_ROWS, ROWS - 1)].index;
    if (threadIdx.x < TILES_ACROSS)
        shared->first_columns[threadIdx.x] = tables->grid_x[min((int)threadIdx.x * TILE_COLUMNS, COLUMNS - 1)].index;
    __syncthreads();
}

/* Adds up, in the order of the blocks, what each says about a node whose tile has it; `part` finds that in its Exchange. */
template <typename Value, typename Part>
__device__ __forceinline__ Value add_of_blocks(const Team &team, const Shared *shared, int row, int column, Value sum, Part part)
{
    for (int down = 0; down < TILES_DOWN; down++) {
        const int beyond = row - shared->first_rows[down];
        if (beyond < 0 || beyond >= TILE_GRID_ROWS) continue;
        for (int across = 0; across < TILES_ACROSS; across++) {
            const int beside = column - shared->first_columns[across];
            if (beside < 0 || beside >= TILE_GRID_COLUMNS) continue;
            sum = plus(sum, take(part(team.of(down * TILES_ACROSS + across), beyond * TILE_GRID_COLUMNS + beside)));
        }
    }
    return sum;
}

/* By all warps but the first: the evidence of the nodes around this block's cells, and of all nodes the sum over their levels,
 * with what is left of earlier frames'. */
__device__ __forceinline__ void take_evidence(const Team &team, const Shared *shared, Scratch *scratch, const Evidence *memory,
                                              float decay, Corner corner)
{
    enum { QUADS = DEPTHD_GRID_LEVELS / 2, OTHERS = THREADS - 32 };
    for (int i = threadIdx.x - 32; i < NEAR_ROWS * NEAR_COLUMNS * QUADS; i += OTHERS) {
        const int place = i / QUADS, quad = i % QUADS;
        const int row = corner.row - 1 + place / NEAR_COLUMNS, column = corner.column - 1 + place % NEAR_COLUMNS;
        float4 value = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (row >= 0 && row < GRID_ROWS && column >= 0 && column < GRID_COLUMNS) {
            const float4 before = ((const float4 *)memory->nodes[row * GRID_COLUMNS + column])[quad];
            value = make_float4(decay * before.x, decay * before.y, decay * before.z, decay * before.w);
            value = add_of_blocks(team, shared, row, column, value, [quad](const Exchange *theirs, int node) {
                return (const float4 *)theirs->evidence[node] + quad;
            });
        }
        ((float4 *)scratch->grid.evidence)[i] = value;
    }
    for (int node = THREADS - 1 - threadIdx.x; node < FLAT_COUNT; node += OTHERS) {
        const float2 before = memory->level_sums[node];
        scratch->grid.level_sums[node] =
            add_of_blocks(team, shared, node / GRID_COLUMNS, node % GRID_COLUMNS, make_float2(decay * before.x, decay * before.y),
                          [](const Exchange *theirs, int place) { return &theirs->level_sums[place]; });
    }
}

/* Keeps the evidence for the next frame: each node by the block in whose tile it lies. Nobody reads the old one any more. */
__device__ __forceinline__ void keep_evidence(const Team &team, const Scratch *scratch, Evidence *memory, Corner corner)
{
    for (int i = threadIdx.x; i < NEAR_ROWS * NEAR_COLUMNS * DEPTHD_GRID_LEVELS; i += THREADS) {
        const int place = i / DEPTHD_GRID_LEVELS, level = i % DEPTHD_GRID_LEVELS;
        const int row = corner.row - 1 + place / NEAR_COLUMNS, column = corner.column - 1 + place % NEAR_COLUMNS;
        if (row < 0 || row >= GRID_ROWS || column < 0 || column >= GRID_COLUMNS) continue;
        const int cell_row = min((int)(row * (float)(GRID_STEP)), ROWS - 1);
        const int cell_column = min((int)(column * (float)(GRID_STEP)), COLUMNS - 1);
        if (cell_row / TILE_ROWS * TILES_ACROSS + cell_column / TILE_COLUMNS != team.rank) continue;
        const int node = row * GRID_COLUMNS + column;
        memory->nodes[node][level] = scratch->grid.evidence[0][place][level];
        if (level == 0) memory->level_sums[node] = scratch->grid.level_sums[node];
    }
}

/* One pass of [1 2 1] / 4 along rows and columns at each level; and the wide passes along rows of their sums. */
__device__ __forceinline__ void blur_evidence(Scratch *scratch, const Tables *tables, Corner corner)
{
    enum { ROW = NEAR_COLUMNS * DEPTHD_GRID_LEVELS };
    for (int i = threadIdx.x; i < TILE_NODES * DEPTHD_GRID_LEVELS; i += THREADS) {
        const int node = i / DEPTHD_GRID_LEVELS, row = node / TILE_GRID_COLUMNS, column = node % TILE_GRID_COLUMNS;
        const float2 *first = &scratch->grid.evidence[row][column][i % DEPTHD_GRID_LEVELS];
        float2 lines[3];
#pragma unroll
        for (int r = 0; r < 3; r++, first += ROW)
            lines[r] = weighed(first[0], first[DEPTHD_GRID_LEVELS], first[2 * DEPTHD_GRID_LEVELS]);
        scratch->grid.near[0][i] = weighed(lines[0], lines[1], lines[2]);
    }
    for (int i = THREADS - 1 - threadIdx.x; i < TILE_GRID_ROWS * WIDE_COLUMNS; i += THREADS) {
        const int row = corner.row + i / WIDE_COLUMNS, column = corner.column - DEPTHD_WIDE_PASSES + i % WIDE_COLUMNS;
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < WIDE_TAPS; k++) {
            const int other = row + k - DEPTHD_WIDE_PASSES;
            if (row >= GRID_ROWS || other < 0 || other >= GRID_ROWS || column < 0 || column >= GRID_COLUMNS) continue;
            const float2 value = scratch->grid.level_sums[other * GRID_COLUMNS + column];
            sum.x += tables->wide_rows[row][k] * value.x;
            sum.y += tables->wide_rows[row][k] * value.y;
        }
        scratch->grid.wide[0][i] = sum;
    }
    __syncthreads();
}

/* The correction of each column of nodes, drawn to its surroundings'. */
__device__ __forceinline__ void correct_columns(Scratch *scratch, const Tables *tables, Corner corner)
{
    for (int i = threadIdx.x; i < TILE_NODES; i += THREADS) {
        const int place = i % TILE_GRID_COLUMNS, column = corner.column + place;
        float2 wide = make_float2(0.0f, 0.0f), sum = wide;
#pragma unroll
        for (int k = 0; k < WIDE_TAPS; k++) {
            if (column >= GRID_COLUMNS) continue;
            const float2 value = scratch->grid.wide[i / TILE_GRID_COLUMNS][place + k];
            wide.x += tables->wide_columns[column][k] * value.x;
            wide.y += tables->wide_columns[column][k] * value.y;
        }
#pragma unroll
        for (int k = 0; k < DEPTHD_GRID_LEVELS; k++) {
            const float2 value = scratch->grid.near[i][(k + i) % DEPTHD_GRID_LEVELS];
            sum.x += value.x;
            sum.y += value.y;
        }
        const float wide_correction = wide.x / (wide.y + (float)DEPTHD_WIDE_PRIOR);
        scratch->grid.column[i] =
            (sum.x + (float)DEPTHD_COLUMN_PRIOR * wide_correction) / (sum.y + (float)DEPTHD_COLUMN_PRIOR);
    }
    __syncthreads();
}

/* The correction of each node, drawn to its column's. */
__device__ __forceinline__ void correct_nodes(Scratch *scratch)
{
    const float2 none = make_float2(0.0f, 0.0f);
    const float prior = (float)DEPTHD_NODE_PRIOR;
    for (int i = threadIdx.x; i < TILE_NODES * DEPTHD_GRID_LEVELS; i += THREADS) {
        const int level = i % DEPTHD_GRID_LEVELS;
        const float2 *here = scratch->grid.near[0] + i;
        const float2 node = weighed(level > 0 ? here[-1] : none, here[0], level < DEPTHD_GRID_LEVELS - 1 ? here[1] : none);
        scratch->grid.smooth[0][0][i] =
            (node.x + prior * scratch->grid.column[i / DEPTHD_GRID_LEVELS]) / (node.y + prior);
    }
    __syncthreads();
}

__device__ __forceinline__ float between(float a, float b, float part) { return a + (b - a) * part; }

/* Trilinear interpolation at each cell. */
__device__ __forceinline__ void sample_grid(const Scratch *scratch, const Tables *tables, const Samples &s, Aligned &a,
                                            Corner corner)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (s.cell[i] < 0) continue;
        const Place y = tables->grid_y[s.cell[i] / COLUMNS], x = tables->grid_x[s.cell[i] % COLUMNS];
        const int level = lower_level(a.level[i]);
        const float up = a.level[i] - level;
        const float *node = &scratch->grid.smooth[y.index - corner.row][x.index - corner.column][level];
        const float *right = node + DEPTHD_GRID_LEVELS, *down = node + TILE_GRID_COLUMNS * DEPTHD_GRID_LEVELS;
        const float *across = down + DEPTHD_GRID_LEVELS;
        const float upper = between(between(node[0], node[1], up), between(right[0], right[1], up), x.part);
        const float lower = between(between(down[0], down[1], up), between(across[0], across[1], up), x.part);
        a.correction[i] = between(upper, lower, y.part);
    }
}

/* Line and correction take turns. Ends with the noise about both in shared->noise and each cell in registers. */
__device__ __forceinline__ void align(const Team &team, Shared *shared, Scratch *scratch, const Settings *p, State *state,
                                      const Tables *tables, Evidence *memory, const Samples &s, Aligned &a, bool refit)
{
    const Corner corner = {tables->grid_y[min(team.rank / TILES_ACROSS * TILE_ROWS, ROWS - 1)].index,
                           tables->grid_x[min(team.rank % TILES_ACROSS * TILE_COLUMNS, COLUMNS - 1)].index};
    const float decay = shared->decision ? 0.0f : (float)p->alignment_decay;
    find_corners(shared, tables);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) a.correction[i] = a.trust[i] = a.error[i] = a.level[i] = 0.0f;
    for (int round = 0; round < DEPTHD_ALIGNMENT_ROUNDS; round++) {
        const bool last = round == DEPTHD_ALIGNMENT_ROUNDS - 1;
        publish_errors(team, shared, s, a, shared->noise, 0);
        publish_evidence(team, scratch->levels, corner);
        team.wait_for_all();
        if (threadIdx.x < 32) {
            if (last && refit) collect_judgement(team, shared, p, 1);
            const double noise = median_noise(team, 0, shared->noise);
            __syncwarp();
            if (threadIdx.x == 0) shared->noise = noise;
        } else {
            take_evidence(team, shared, scratch, memory, decay, corner);
        }
        team.wait_for_all();
        clear_histogram(team, 0);
        blur_evidence(scratch, tables, corner);
        correct_columns(scratch, tables, corner);
        correct_nodes(scratch);
        sample_grid(scratch, tables, s, a, corner);
        if (!refit || last) continue;
        float flat[ITEMS];
#pragma unroll
        for (int i = 0; i < ITEMS; i++)
            flat[i] = s.rho[i] - a.correction[i] * depthd_unit(shared->slope.at(s.x[i]), shared->scene);
        if (threadIdx.x == 0) {
            shared->line.noise = shared->noise;
            shared->slope.noise = (float)shared->noise;
        }
        __syncthreads();
        for (int k = 0; k < DEPTHD_REFIT_ITERATIONS; k++) fit_step(team, shared, p, s, flat, 1);
        if (threadIdx.x == 0) shared->noise = shared->line.noise;
        if (round == DEPTHD_ALIGNMENT_ROUNDS - 2) publish_judgement(team, shared, p, s, flat, 1);
        __syncthreads();
    }
    publish_errors(team, shared, s, a, shared->noise, 0);
    team.wait_for_all();
    keep_evidence(team, scratch, memory, corner);
    if (threadIdx.x < 32) {
        const double noise = median_noise(team, 0, shared->noise);
        __syncwarp();
        if (threadIdx.x == 0) shared->noise = noise;
    }
    __syncthreads();
}
