/* 5. Align locally: a bilateral grid of the line's relative error. */
#pragma once

#define NODES_PER_CELL ((float)(1.0 / (GRID_STEP)))

/* Evidence is added up in integers, in any order. A node's weight is at most that of the cells within a step of it; a relative
 * error above ERROR_BOUND is as good as none that could be trusted. */
#define NODE_CELLS ((GRID_STEP + 1.0) * (GRID_STEP + 1.0))
#define ERROR_BOUND 4.0
#define EVIDENCE_UNITS ((float)(2.1e9 / NODE_CELLS))
#define EVIDENCE_ERROR_UNITS ((float)(2.1e9 / (NODE_CELLS * ERROR_BOUND)))

/* The nodes that one block smooths, with the neighbours that this needs. */
enum {
    NEAR_ROWS = TILE_GRID_ROWS + 2,
    NEAR_COLUMNS = TILE_GRID_COLUMNS + 2,
    NEAR_NODES = NEAR_ROWS * NEAR_COLUMNS,
    NEAR_ITEMS = (NEAR_NODES * DEPTHD_GRID_LEVELS + THREADS - 1) / THREADS,
    WIDE_ROWS = TILE_GRID_ROWS + 2 * DEPTHD_WIDE_PASSES,
    WIDE_COLUMNS = TILE_GRID_COLUMNS + 2 * DEPTHD_WIDE_PASSES,
    WIDE_ITEMS = (WIDE_ROWS * WIDE_COLUMNS + THREADS - 1) / THREADS,
    SOURCES = NODE_TILES_ACROSS * NODE_TILES_DOWN, /* blocks that have cells near a node, at most */
    TILE_NODE_LEVELS = (TILE_NODES * DEPTHD_GRID_LEVELS + 31) / 32 * 32,
};

/* The tables' part around a block's tile. */
struct Surroundings {
    int row, column; /* the first of this tile's nodes */
    Place columns[TILE_COLUMNS], rows[TILE_ROWS]; /* counted from there */
    float wide_columns[TILE_GRID_COLUMNS][WIDE_TAPS], wide_rows[TILE_GRID_ROWS][WIDE_TAPS];
    NodeTiles<NODE_TILES_ACROSS> tiles_across[WIDE_COLUMNS];
    NodeTiles<NODE_TILES_DOWN> tiles_down[WIDE_ROWS];
};

/* Scratch of a block; what is used at different times lies in the same place. */
struct Scratch {
    union {
        Chosen chosen[STRATA_COUNT];
        struct {
            float4 cells[CELLS_PER_BLOCK]; /* trust, trust * error, level */
            float2 near[NEAR_NODES][NODE_STRIDE];
            float2 wide[WIDE_ROWS * WIDE_COLUMNS];
            float smooth[TILE_NODES][NODE_STRIDE]; /* correction */
        } grid;
    };
    Surroundings around;
};

/* What an aligned cell is, in registers. */
struct Aligned {
    float correction[ITEMS], trust[ITEMS], error[ITEMS], level[ITEMS];
};

/* Where a node's evidence comes from: block << 16 | node in its tile, or -1; and what is left of earlier frames'. */
struct Sources {
    int place[SOURCES];
    float2 before;
};

struct Gathering {
    int row, column; /* the first of this tile's nodes */
    Sources near[NEAR_ITEMS], wide[WIDE_ITEMS];
};

/* Of a slot of this block's tile: its place there, counted from the tile's corner. */
__device__ __forceinline__ int top_of(const Team &team) { return team.rank / TILES_ACROSS * TILE_ROWS; }
__device__ __forceinline__ int left_of(const Team &team) { return team.rank % TILES_ACROSS * TILE_COLUMNS; }

/* Once a frame, and long before they are needed, since one read waits for another. */
__device__ __forceinline__ void load_surroundings(const Team &team, Scratch *scratch, const Tables *tables)
{
    Surroundings &around = scratch->around;
    const int top = top_of(team), left = left_of(team);
    const int first_row = tables->grid_y[min(top, ROWS - 1)].index, first_column = tables->grid_x[min(left, COLUMNS - 1)].index;
    if (threadIdx.x == 0) around.row = first_row, around.column = first_column;
    for (int i = threadIdx.x; i < TILE_COLUMNS; i += THREADS) {
        const Place place = tables->grid_x[min(left + i, COLUMNS - 1)];
        around.columns[i] = {place.index - first_column, place.part};
    }
    for (int i = threadIdx.x; i < TILE_ROWS; i += THREADS) {
        const Place place = tables->grid_y[min(top + i, ROWS - 1)];
        around.rows[i] = {place.index - first_row, place.part};
    }
    for (int i = threadIdx.x; i < TILE_GRID_COLUMNS * WIDE_TAPS; i += THREADS)
        around.wide_columns[0][i] = tables->wide_columns[min(first_column + i / WIDE_TAPS, GRID_COLUMNS - 1)][i % WIDE_TAPS];
    for (int i = threadIdx.x; i < TILE_GRID_ROWS * WIDE_TAPS; i += THREADS)
        around.wide_rows[0][i] = tables->wide_rows[min(first_row + i / WIDE_TAPS, GRID_ROWS - 1)][i % WIDE_TAPS];
    for (int i = threadIdx.x; i < WIDE_COLUMNS; i += THREADS)
        around.tiles_across[i] = tables->tiles_across[min(max(first_column - DEPTHD_WIDE_PASSES + i, 0), GRID_COLUMNS - 1)];
    for (int i = threadIdx.x; i < WIDE_ROWS; i += THREADS)
        around.tiles_down[i] = tables->tiles_down[min(max(first_row - DEPTHD_WIDE_PASSES + i, 0), GRID_ROWS - 1)];
}

/* Of a node `row` rows below and `column` columns right of this tile's first. */
__device__ __forceinline__ bool find_sources(const Surroundings &around, int row, int column, Sources &sources)
{
#pragma unroll
    for (int k = 0; k < SOURCES; k++) sources.place[k] = -1;
    sources.before = make_float2(0.0f, 0.0f);
    const int grid_row = around.row + row, grid_column = around.column + column;
    if (grid_row < 0 || grid_row >= GRID_ROWS || grid_column < 0 || grid_column >= GRID_COLUMNS) return false;
    const NodeTiles<NODE_TILES_DOWN> &down = around.tiles_down[row + DEPTHD_WIDE_PASSES];
    const NodeTiles<NODE_TILES_ACROSS> &across = around.tiles_across[column + DEPTHD_WIDE_PASSES];
#pragma unroll
    for (int k = 0; k < SOURCES; k++) {
        const int d = k / NODE_TILES_ACROSS, a = k % NODE_TILES_ACROSS;
        if (d >= down.count || a >= across.count) continue;
        const int place = (grid_row - down.first_node[d]) * TILE_GRID_COLUMNS + grid_column - across.first_node[a];
        sources.place[k] = ((down.first + d) * TILES_ACROSS + across.first + a) << 16 | place;
    }
    return true;
}

/* Once a frame: where everything comes from that the rounds gather. */
__device__ __forceinline__ void prepare_gathering(const Scratch *scratch, const Evidence *memory, float decay, Gathering &g)
{
    const Surroundings &around = scratch->around;
    g.row = around.row;
    g.column = around.column;
#pragma unroll
    for (int i = 0; i < NEAR_ITEMS; i++) {
        const int at = i * THREADS + threadIdx.x, place = at / DEPTHD_GRID_LEVELS;
        const int row = place / NEAR_COLUMNS - 1, column = place % NEAR_COLUMNS - 1;
        if (place >= NEAR_NODES) continue;
        if (!find_sources(around, row, column, g.near[i])) continue;
        const float2 before = memory->nodes[(g.row + row) * GRID_COLUMNS + g.column + column][at % DEPTHD_GRID_LEVELS];
        g.near[i].before = make_float2(decay * before.x, decay * before.y);
    }
#pragma unroll
    for (int i = 0; i < WIDE_ITEMS; i++) {
        const int at = i * THREADS + THREADS - 1 - threadIdx.x;
        const int row = at / WIDE_COLUMNS - DEPTHD_WIDE_PASSES, column = at % WIDE_COLUMNS - DEPTHD_WIDE_PASSES;
        if (at >= WIDE_ROWS * WIDE_COLUMNS) continue;
        if (!find_sources(around, row, column, g.wide[i])) continue;
        const float2 before = memory->level_sums[(g.row + row) * GRID_COLUMNS + g.column + column];
        g.wide[i].before = make_float2(decay * before.x, decay * before.y);
    }
}

__device__ __forceinline__ int lower_level(float level) { return min((int)level, DEPTHD_GRID_LEVELS - 2); }

/* Trust and relative error of every cell; their histogram is sent. */
__device__ __forceinline__ void send_errors(const Team &team, Shared *shared, Scratch *scratch, const Samples &s, Aligned &a)
{
    const DepthdScene scene = shared->scene;
    const float maximum = shared->inverse_maximum;
    const Slope slope = shared->slope;
    uint32_t *histogram = shared->histogram[2];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const DepthdCellError cell =
            depthd_cell_error(s.rho[i], slope.at(s.x[i]), a.correction[i], s.calm[i], slope.noise, scene);
        a.trust[i] = s.usable[i] ? cell.trust : 0.0f;
        a.error[i] = s.usable[i] ? cell.error : 0.0f;
        a.level[i] = depthd_level(slope.at(s.x_all[i]), scene.inverse_minimum, maximum) * (DEPTHD_GRID_LEVELS - 1);
        count_error(histogram, cell.place, s.usable[i] ? cell.bin_weight : 0.0f);
        if (i * THREADS + threadIdx.x < CELLS_PER_BLOCK)
            scratch->grid.cells[i * THREADS + threadIdx.x] =
                make_float4(a.trust[i], a.trust[i] * a.error[i], a.level[i], 0.0f);
    }
    __syncthreads();
    send_histogram(team, histogram);
    team.sent(16 * HISTOGRAM_QUADS);
}

/* Cells side by side say something to the same nodes. So a warp takes cells that lie far from each other. */
constexpr int common_divisor(int a, int b) { return b == 0 ? a : common_divisor(b, a % b); }
constexpr int cell_stride(int stride)
{
    return stride % 2 == 1 && common_divisor(CELLS_PER_BLOCK, stride) == 1 ? stride : cell_stride(stride + 1);
}
constexpr int CELL_STRIDE = cell_stride((int)(0.8 * GRID_STEP) * TILE_COLUMNS + (int)(GRID_STEP));

__device__ __forceinline__ void add_evidence(int2 *node, float weight, float error)
{
    atomicAdd(&node->x, __float2int_rn(error * EVIDENCE_ERROR_UNITS));
    atomicAdd(&node->y, __float2int_rn(weight * EVIDENCE_UNITS));
}

/* What this block's cells say about the nodes that they lie between. */
__device__ __forceinline__ void splat_cells(const Team &team, const Scratch *scratch, int round)
{
    int2 (*nodes)[NODE_STRIDE] = team.mine->evidence[round & 1];
#pragma unroll 1
    for (int i = threadIdx.x; i < CELLS_PER_BLOCK; i += THREADS) {
        const int slot = (int)((unsigned int)i * CELL_STRIDE % CELLS_PER_BLOCK);
        const float4 cell = scratch->grid.cells[slot];
        if (!(cell.x > 0.0f)) continue;
        const Place x = scratch->around.columns[slot % TILE_COLUMNS], y = scratch->around.rows[slot / TILE_COLUMNS];
        const int level = lower_level(cell.z);
        const float up = cell.z - level, error = fminf(fmaxf(cell.y, -(float)ERROR_BOUND * cell.x), (float)ERROR_BOUND * cell.x);
        int2 *node = &nodes[y.index * TILE_GRID_COLUMNS + x.index][level];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float near = (k % 2 ? x.part : 1.0f - x.part) * (k / 2 ? y.part : 1.0f - y.part);
            int2 *corner = node + (k / 2 * TILE_GRID_COLUMNS + k % 2) * NODE_STRIDE;
            add_evidence(corner, near * (1.0f - up) * cell.x, near * (1.0f - up) * error);
            add_evidence(corner + 1, near * up * cell.x, near * up * error);
        }
    }
}

/* Of each node of this block the sum over its levels. */
__device__ __forceinline__ void add_levels(const Team &team, int round)
{
    for (int i = threadIdx.x; i < TILE_NODE_LEVELS; i += THREADS) {
        const int node = i / DEPTHD_GRID_LEVELS;
        int2 sum = node < TILE_NODES ? take(&team.mine->evidence[round & 1][node][i % DEPTHD_GRID_LEVELS]) : make_int2(0, 0);
#pragma unroll
        for (int offset = DEPTHD_GRID_LEVELS / 2; offset > 0; offset /= 2) {
            sum.x += __shfl_xor_sync(0xFFFFFFFFu, sum.x, offset);
            sum.y += __shfl_xor_sync(0xFFFFFFFFu, sum.y, offset);
        }
        if (i % DEPTHD_GRID_LEVELS == 0 && node < TILE_NODES) put(&team.mine->level_sums[round & 1][node], sum);
    }
}

__device__ __forceinline__ void clear_evidence(const Team &team, int round)
{
    for (int i = threadIdx.x; i < TILE_NODES * NODE_STRIDE; i += THREADS)
        put(&team.mine->evidence[round & 1][0][i], make_int2(0, 0));
}

/* Adds up what the blocks say about a node; `part` finds that in an Exchange. */
template <typename Part>
__device__ __forceinline__ float2 add_sources(const Team &team, const Sources &sources, Part part)
{
    int2 found[SOURCES];
#pragma unroll
    for (int k = 0; k < SOURCES; k++) {
        const int place = sources.place[k];
        found[k] = place >= 0 ? take(part(team.of(place >> 16), place & 0xFFFF)) : make_int2(0, 0);
    }
    int2 sum = found[0];
#pragma unroll
    for (int k = 1; k < SOURCES; k++) sum.x += found[k].x, sum.y += found[k].y;
    return make_float2(sources.before.x + sum.x * (1.0f / EVIDENCE_ERROR_UNITS), sources.before.y + sum.y * (1.0f / EVIDENCE_UNITS));
}

/* The evidence of the nodes around this block's cells, and of those farther around the sum over their levels. */
__device__ __forceinline__ void gather_evidence(const Team &team, Scratch *scratch, const Gathering &g, int round)
{
    const int turn = round & 1;
#pragma unroll
    for (int i = 0; i < NEAR_ITEMS; i++) {
        const int at = i * THREADS + threadIdx.x, level = at % DEPTHD_GRID_LEVELS;
        if (at >= NEAR_NODES * DEPTHD_GRID_LEVELS) continue;
        scratch->grid.near[at / DEPTHD_GRID_LEVELS][level] = add_sources(
            team, g.near[i], [turn, level](const Exchange *theirs, int node) { return &theirs->evidence[turn][node][level]; });
    }
#pragma unroll
    for (int i = 0; i < WIDE_ITEMS; i++) {
        const int at = i * THREADS + THREADS - 1 - threadIdx.x;
        if (at >= WIDE_ROWS * WIDE_COLUMNS) continue;
        scratch->grid.wide[at] = add_sources(team, g.wide[i], [turn](const Exchange *theirs, int node) {
            return &theirs->level_sums[turn][node];
        });
    }
}

/* Keeps the evidence for the next frame: each node by the block in whose tile it lies. Nobody reads the old one any more. */
__device__ __forceinline__ void keep_evidence(const Team &team, const Scratch *scratch, Evidence *memory, const Gathering &g)
{
#pragma unroll 1
    for (int i = threadIdx.x; i < NEAR_NODES * DEPTHD_GRID_LEVELS; i += THREADS) {
        const int place = i / DEPTHD_GRID_LEVELS, level = i % DEPTHD_GRID_LEVELS;
        const int row = g.row - 1 + place / NEAR_COLUMNS, column = g.column - 1 + place % NEAR_COLUMNS;
        if (row < 0 || row >= GRID_ROWS || column < 0 || column >= GRID_COLUMNS) continue;
        const int cell_row = min((int)(row * (float)(GRID_STEP)), ROWS - 1);
        const int cell_column = min((int)(column * (float)(GRID_STEP)), COLUMNS - 1);
        if (cell_row / TILE_ROWS * TILES_ACROSS + cell_column / TILE_COLUMNS != team.rank) continue;
        const int node = row * GRID_COLUMNS + column;
        const int wide = (row - g.row + DEPTHD_WIDE_PASSES) * WIDE_COLUMNS + column - g.column + DEPTHD_WIDE_PASSES;
        memory->nodes[node][level] = scratch->grid.near[place][level];
        if (level == 0) memory->level_sums[node] = scratch->grid.wide[wide];
    }
}

__device__ __forceinline__ float2 weighed(float2 a, float2 b, float2 c)
{
    return make_float2(0.25f * a.x + 0.5f * b.x + 0.25f * c.x, 0.25f * a.y + 0.5f * b.y + 0.25f * c.y);
}

__device__ __forceinline__ float2 add_over_levels(float2 value)
{
#pragma unroll
    for (int offset = DEPTHD_GRID_LEVELS / 2; offset > 0; offset /= 2) {
        value.x += __shfl_xor_sync(0xFFFFFFFFu, value.x, offset);
        value.y += __shfl_xor_sync(0xFFFFFFFFu, value.y, offset);
    }
    return value;
}

/* The correction of each node of the tile, drawn to its column's, and that to its surroundings'. Each lane has one level of
 * a node, and besides a share of the surroundings. */
__device__ __forceinline__ void correct_nodes(Scratch *scratch)
{
    static_assert(DEPTHD_GRID_LEVELS == 16, "a node is half a warp");
    for (int i = threadIdx.x; i < TILE_NODE_LEVELS; i += THREADS) {
        const int node = min(i / DEPTHD_GRID_LEVELS, TILE_NODES - 1), level = i % DEPTHD_GRID_LEVELS;
        const int row = node / TILE_GRID_COLUMNS, column = node % TILE_GRID_COLUMNS;
        float2 lines[3];
#pragma unroll
        for (int r = 0; r < 3; r++) {
            const float2(*first)[NODE_STRIDE] = &scratch->grid.near[(row + r) * NEAR_COLUMNS + column];
            lines[r] = weighed(first[0][level], first[1][level], first[2][level]);
        }
        const float2 near = weighed(lines[0], lines[1], lines[2]);
        float2 wide = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int k = 0; k < (WIDE_TAPS * WIDE_TAPS + 15) / 16; k++) {
            const int tap = level + 16 * k, down = tap / WIDE_TAPS, across = tap % WIDE_TAPS;
            if (tap >= WIDE_TAPS * WIDE_TAPS) continue;
            const float share = scratch->around.wide_rows[row][down] * scratch->around.wide_columns[column][across];
            const float2 value = scratch->grid.wide[(row + down) * WIDE_COLUMNS + column + across];
            wide.x += share * value.x;
            wide.y += share * value.y;
        }
        wide = add_over_levels(wide);
        const float2 sum = add_over_levels(near);
        const float surroundings = __fdividef(wide.x, wide.y + (float)DEPTHD_WIDE_PRIOR);
        const float of_column = __fdividef(sum.x + (float)DEPTHD_COLUMN_PRIOR * surroundings, sum.y + (float)DEPTHD_COLUMN_PRIOR);
        float2 below, above;
        below.x = __shfl_up_sync(0xFFFFFFFFu, near.x, 1, 16), below.y = __shfl_up_sync(0xFFFFFFFFu, near.y, 1, 16);
        above.x = __shfl_down_sync(0xFFFFFFFFu, near.x, 1, 16), above.y = __shfl_down_sync(0xFFFFFFFFu, near.y, 1, 16);
        if (level == 0) below = make_float2(0.0f, 0.0f);
        if (level == DEPTHD_GRID_LEVELS - 1) above = make_float2(0.0f, 0.0f);
        const float2 own = weighed(below, near, above);
        scratch->grid.smooth[node][level] =
            __fdividef(own.x + (float)DEPTHD_NODE_PRIOR * of_column, own.y + (float)DEPTHD_NODE_PRIOR);
    }
}

__device__ __forceinline__ float between(float a, float b, float part) { return a + (b - a) * part; }

/* Trilinear interpolation at each cell. */
__device__ __forceinline__ void sample_grid(const Scratch *scratch, const Samples &s, Aligned &a)
{
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const int slot = min(i * THREADS + (int)threadIdx.x, CELLS_PER_BLOCK - 1);
        const Place y = scratch->around.rows[slot / TILE_COLUMNS], x = scratch->around.columns[slot % TILE_COLUMNS];
        const int level = lower_level(a.level[i]);
        const float up = a.level[i] - level;
        const float *node = &scratch->grid.smooth[y.index * TILE_GRID_COLUMNS + x.index][level];
        const float *right = node + NODE_STRIDE, *down = node + TILE_GRID_COLUMNS * NODE_STRIDE, *across = down + NODE_STRIDE;
        const float upper = between(between(node[0], node[1], up), between(right[0], right[1], up), x.part);
        const float lower = between(between(down[0], down[1], up), between(across[0], across[1], up), x.part);
        a.correction[i] = between(upper, lower, y.part);
    }
}

/* The noise about the corrected line, by the last warp, which has the least to do otherwise. */
__device__ __forceinline__ void collect_alignment_noise(const Team &team, Shared *shared)
{
    if (threadIdx.x < THREADS - 32) return;
    const float noise = collect_noise(team, shared->slope.noise);
    if (threadIdx.x % 32 == 0) shared->slope.noise = noise;
}

/* One round: what every cell says about the line, and the correction of every cell from that. */
__device__ __forceinline__ void align_round(Team &team, Shared *shared, Scratch *scratch, const Samples &s, Aligned &a,
                                            const Gathering &g, int round)
{
    send_errors(team, shared, scratch, s, a);
    splat_cells(team, scratch, round);
    __syncthreads();
    add_levels(team, round);
    team.wait_for_all();
    gather_evidence(team, scratch, g, round);
    clear_evidence(team, round + 1);
    for (int i = threadIdx.x; i < KEPT_BINS; i += THREADS) shared->histogram[2][i] = 0;
    __syncthreads();
    collect_alignment_noise(team, shared);
    correct_nodes(scratch);
    __syncthreads();
    team.turn++;
    sample_grid(scratch, s, a);
}
