/* A thread-block cluster's own instructions (Hopper and later): reading and writing each other's shared memory. */
#pragma once

/* Programmatic dependent launch: the next kernel may begin; and the one before this has ended, all that it wrote is there. */
__device__ __forceinline__ void let_next_begin()
{
#if CLUSTER
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_last()
{
#if CLUSTER
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#if CLUSTER
__device__ __forceinline__ int rank_in_cluster()
{
    int rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* The same address in another block's shared memory. */
template <typename T>
__device__ __forceinline__ const T *of_block(const T *mine, int other)
{
    const T *theirs;
    asm("mapa.u64 %0, %1, %2;" : "=l"(theirs) : "l"(mine), "r"(other));
    return theirs;
}

/* Waits for all threads of the cluster. What each block wrote into its own shared memory before a __syncthreads() is there; a
 * fence over the whole GPU, which a releasing arrival brings along, would cost a microsecond each time and add nothing. */
__device__ __forceinline__ void wait_for_cluster()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ void arrive_at_cluster()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void wait_after_arrival()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ uint32_t shared_address(const void *address)
{
    return (uint32_t)__cvta_generic_to_shared(address);
}

__device__ __forceinline__ uint32_t of_block_address(const void *mine, int other)
{
    uint32_t theirs;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(shared_address(mine)), "r"(other));
    return theirs;
}

__device__ __forceinline__ void make_barrier(uint64_t *barrier)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n\tfence.mbarrier_init.release.cluster;" ::"r"(shared_address(barrier))
                 : "memory");
}

/* One of the two things that end a barrier's phase; the other is that so many bytes have come. */
__device__ __forceinline__ void expect_bytes(uint64_t *barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}

__device__ __forceinline__ void wait_for_bytes(uint64_t *barrier, int phase)
{
    asm volatile("{\n\t.reg .pred done;\n"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t}" ::"r"(shared_address(barrier)),
                 "r"(phase)
                 : "memory");
}

/* Writes into another block's shared memory and counts the bytes at its barrier. `to` and `barrier` are one's own addresses of
 * both. */
__device__ __forceinline__ void post(uint32_t *to, uint64_t *barrier, int other, uint32_t value)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(of_block_address(to, other)),
                 "r"(value), "r"(of_block_address(barrier, other))
                 : "memory");
}

__device__ __forceinline__ void post(uint4 *to, uint64_t *barrier, int other, uint4 value)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
                     of_block_address(to, other)),
                 "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w), "r"(of_block_address(barrier, other))
                 : "memory");
}
#endif
