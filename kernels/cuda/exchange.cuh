/* How the blocks of the fit tell each other what they found.
 *
 * By mail: every block writes a few words into every block's own memory, and each then reads sixteen letters without going far.
 * One barrier a turn counts what has come. There are two sets of letters; a block gets at most one turn ahead of another,
 * since to end a turn it needs a letter of each.
 * By looking: after wait_for_all(), a block may read what the others have left in their Exchange. */
#pragma once

enum {
    WARPS = THREADS / 32,
    STRATA_COUNT = DEPTHD_STRATA * DEPTHD_STRATA,
    TILE_COLUMNS = (COLUMNS + TILES_ACROSS - 1) / TILES_ACROSS,
    TILE_ROWS = (ROWS + TILES_DOWN - 1) / TILES_DOWN,
    CELLS_PER_BLOCK = TILE_COLUMNS * TILE_ROWS,
    SLOTS_PER_BLOCK = CELLS_PER_BLOCK + DEPTHD_MEMORY_BINS, /* the first block also carries the remembered samples */
    ITEMS = (SLOTS_PER_BLOCK + THREADS - 1) / THREADS,      /* slots of a thread */
    TILE_NODES = TILE_GRID_ROWS * TILE_GRID_COLUMNS,        /* between which a block's cells lie */
    NODE_STRIDE = DEPTHD_GRID_LEVELS + 1,                   /* so that nodes side by side lie in different banks */
    HISTOGRAM_QUADS = 32,
    LETTER_QUADS = HISTOGRAM_QUADS + 2, /* a histogram, and the sums of a step of the fit */
};

struct Letters {
    uint4 quads[2][BLOCKS][LETTER_QUADS];
    uint64_t arrived[2];
};

struct Exchange {
    Letters letters;
    int2 evidence[2][TILE_NODES][NODE_STRIDE]; /* weighted error, weight; see Units in align.cuh */
    int2 level_sums[2][TILE_NODES];
    uint32_t strata[STRATA_COUNT];
};

/* Where a block of the fit stands among the others. */
struct Team {
    int rank, cluster;
    int turn, step; /* letters exchanged so far; steps of the fit */
    Exchange *mine;
    Exchange *device_memory; /* of all blocks, where they are no cluster */
    unsigned int *arrived;

    __device__ __forceinline__ const Exchange *of(int other) const
    {
#if CLUSTER
        return of_block(mine, other);
#else
        return device_memory + other;
#endif
    }

    /* By all threads. Waits until every thread of every block is here; what each wrote into its own Exchange is seen. */
    __device__ __forceinline__ void wait_for_all() const
    {
        __syncthreads();
#if CLUSTER
        wait_for_cluster();
#else
        if (threadIdx.x == 0) {
            __threadfence();
            const unsigned int target = (atomicAdd(arrived, 1u) / BLOCKS + 1u) * BLOCKS;
            while ((int)(*(volatile unsigned int *)arrived - target) < 0) {}
            __threadfence();
        }
        __syncthreads();
#endif
    }

    /* Word `place` of this block's letter to another. */
    __device__ __forceinline__ void send(int other, int place, uint32_t value) const
    {
#if CLUSTER
        post((uint32_t *)mine->letters.quads[turn & 1][rank] + place, &mine->letters.arrived[turn & 1], other, value);
#else
        __stcg((uint32_t *)device_memory[other].letters.quads[turn & 1][rank] + place, value);
#endif
    }

    __device__ __forceinline__ void send_quad(int other, int place, uint4 value) const
    {
#if CLUSTER
        post(mine->letters.quads[turn & 1][rank] + place, &mine->letters.arrived[turn & 1], other, value);
#else
        __stcg(&device_memory[other].letters.quads[turn & 1][rank][place], value);
#endif
    }

    /* By all threads, after the letters of a turn were sent: how many bytes each block got. */
    __device__ __forceinline__ void sent(int bytes_of_each) const
    {
#if CLUSTER
        if (threadIdx.x == 0) expect_bytes(&mine->letters.arrived[turn & 1], BLOCKS * bytes_of_each);
#else
        wait_for_all();
#endif
    }

    /* By whoever reads the letters of this turn. */
    __device__ __forceinline__ void receive() const
    {
#if CLUSTER
        wait_for_bytes(&mine->letters.arrived[turn & 1], turn >> 1 & 1);
#endif
    }

    __device__ __forceinline__ uint32_t letter(int from, int place) const
    {
#if CLUSTER
        return ((const uint32_t *)mine->letters.quads[turn & 1][from])[place];
#else
        return __ldcg((const uint32_t *)mine->letters.quads[turn & 1][from] + place);
#endif
    }

    __device__ __forceinline__ uint4 letter_quad(int from, int place) const
    {
#if CLUSTER
        return mine->letters.quads[turn & 1][from][place];
#else
        return __ldcg(&mine->letters.quads[turn & 1][from][place]);
#endif
    }
};

/* Reads another block's value, past the first-level cache where it lies in device memory. */
template <typename T>
__device__ __forceinline__ T take(const T *theirs)
{
#if CLUSTER
    return *theirs;
#else
    return __ldcg(theirs);
#endif
}

template <typename T>
__device__ __forceinline__ void put(T *mine, T value)
{
#if CLUSTER
    *mine = value;
#else
    __stcg(mine, value);
#endif
}
