/* How the blocks of the fit tell each other what they found: each writes into its own Exchange, waits for all, and reads
 * what it needs of the others'. Nobody writes into another's, except the smallest keys of the strata. */
#pragma once

enum {
    WARPS = THREADS / 32,
    STRATA_COUNT = DEPTHD_STRATA * DEPTHD_STRATA,
    STRATA_PER_BLOCK = STRATA_COUNT / BLOCKS,
    TILE_COLUMNS = (COLUMNS + TILES_ACROSS - 1) / TILES_ACROSS,
    TILE_ROWS = (ROWS + TILES_DOWN - 1) / TILES_DOWN,
    CELLS_PER_BLOCK = TILE_COLUMNS * TILE_ROWS,
    SLOTS_PER_BLOCK = CELLS_PER_BLOCK + DEPTHD_MEMORY_BINS, /* the first block also carries the remembered samples */
    ITEMS = (SLOTS_PER_BLOCK + THREADS - 1) / THREADS,      /* slots of a thread */
    TILE_NODES = TILE_GRID_ROWS * TILE_GRID_COLUMNS, /* between which a block's cells lie */
    SUMS = 16,
    COARSE_BINS = 32,
    FINE_BINS = DEPTHD_ERROR_BINS / COARSE_BINS,
};

struct Exchange {
    __align__(16) float sums[2][SUMS];
    float4 cells[CELLS_PER_BLOCK]; /* trust, trust * error, level */
    __align__(16) float2 evidence[TILE_NODES][DEPTHD_GRID_LEVELS];
    float2 level_sums[TILE_NODES];
    uint32_t histogram[2][DEPTHD_ERROR_BINS];
    uint32_t coarse[2][COARSE_BINS];
    uint32_t strata[STRATA_PER_BLOCK];
    uint32_t balance[DEPTHD_BALANCE_BINS];
    float low, high;
    float best_score;
    int best_trial;
};

/* Where a block of the fit stands among the others. */
struct Team {
    int rank;
    Exchange *mine;
    Exchange *device_memory; /* of all blocks, where they are no cluster */
    unsigned int *arrived;

    __device__ __forceinline__ Exchange *of(int other) const
    {
#if CLUSTER
        Exchange *theirs;
        asm("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(mine), "r"(other));
        return theirs;
#else
        return device_memory + other;
#endif
    }

    /* Waits until every thread of every block is here. What each wrote into its own Exchange is seen.
     *
     * In a cluster, that is shared memory, and __syncthreads() ends only when what the block wrote there has arrived: a fence over
     * the whole GPU, which a releasing barrier brings along, would cost a microsecond each time and add nothing. */
    __device__ __forceinline__ void wait_for_all() const
    {
#if CLUSTER
        __syncthreads();
        asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            const unsigned int target = (atomicAdd(arrived, 1u) / BLOCKS + 1u) * BLOCKS;
            while ((int)(*(volatile unsigned int *)arrived - target) < 0) {}
            __threadfence();
        }
        __syncthreads();
#endif
    }

    /* The same, and what was changed in the others' is seen too. */
    __device__ __forceinline__ void wait_for_changes() const
    {
#if CLUSTER
        asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
        wait_for_all();
#endif
    }
};

__device__ __forceinline__ int rank_of_block()
{
#if CLUSTER
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#else
    return blockIdx.x;
#endif
}

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

__device__ __forceinline__ float4 plus(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

__device__ __forceinline__ float2 plus(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }

template <typename T>
__device__ __forceinline__ void put(T *mine, T value)
{
#if CLUSTER
    *mine = value;
#else
    __stcg(mine, value);
#endif
}
