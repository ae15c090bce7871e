/* The fusion on a GPU, in four kernels: steady mono, cells, fit and alignment, merge. depthd/fusion/reference.py is the
 * specification.
 *
 * Compiled at run time by depthd/fusion/cuda.py for one picture size: the sizes below are constants, so that divisions by
 * them cost nothing. What a person may change while it runs lies in device memory (Settings), so no graph is rebuilt for it.
 */
#ifdef __CUDACC_RTC__
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
#define NAN __int_as_float(0x7FC00000)
#define INFINITY __int_as_float(0x7F800000)
#else
#include <math.h>
#include <stdint.h>
#endif

#include "depth_math.h"

/* Picture and cells; the defaults are those of 1280 x 720. */
#ifndef WIDTH
#define WIDTH 1280
#define HEIGHT 720
#define CELL_PX 8
#define COLUMNS 160
#define ROWS 90
#define GRID_COLUMNS 17
#define GRID_ROWS 11
#define GRID_STEP 10.0
#endif
#define CELL_COUNT (COLUMNS * ROWS)
#define FLAT_COUNT (GRID_ROWS * GRID_COLUMNS)

/* BLOCKS blocks of THREADS threads do the fit. CLUSTER: they are one thread-block cluster (Hopper and later), and exchange
 * what they know through each other's shared memory; otherwise a cooperative grid, and through device memory. */
#ifndef BLOCKS
#define BLOCKS 16
#endif
#ifndef THREADS
#define THREADS 512
#endif
#ifndef CLUSTER
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define CLUSTER 1
#else
#define CLUSTER 0
#endif
#endif
/* Each block has one tile of cells, BLOCKS = TILES_ACROSS * TILES_DOWN; its cells lie between so many nodes at most. */
#ifndef TILES_ACROSS
#define TILES_ACROSS 4
#define TILE_GRID_COLUMNS 6
#define TILE_GRID_ROWS 5
#endif
#define TILES_DOWN (BLOCKS / TILES_ACROSS)
/* And so many tiles have cells near a node, at most. */
#ifndef NODE_TILES_ACROSS
#define NODE_TILES_ACROSS 2
#define NODE_TILES_DOWN 2
#endif
/* So many clusters look for where to start; the last of them goes on. */
#ifndef CLUSTERS
#define CLUSTERS 1
#endif

#include "cuda/state.cuh"
#include "cuda/cluster.cuh"
#include "cuda/steady.cuh"
#include "cuda/cells.cuh"
#include "cuda/exchange.cuh"
#include "cuda/reductions.cuh"
#include "cuda/consensus.cuh"
#include "cuda/fit.cuh"
#include "cuda/align.cuh"
#include "cuda/solve.cuh"
#include "cuda/merge.cuh"
#include "cuda/points.cuh"
