/* What lies in device memory. depthd/fusion/cuda.py mirrors Settings and Result as NumPy records. */
#pragma once

/* What may change while it runs: as `Parameters` in depthd/fusion/parameters.py. */
struct Settings {
    double stereo_noise, stereo_inverse_minimum, stereo_inverse_maximum, inverse_minimum, inverse_maximum;
    double gate_sigmas, gate_minimum, far_claim_factor, near_claim_factor, solid_claim_factor, whole_claim_factor;
    double mono_decay, memory_decay, alignment_decay, minimum_inlier_share, minimum_agreement, minimum_significance, independent_share;
    int maximum_age_frames, mono_kind;
};

/* rho = scale * x + shift, and how good that is; as `Line` in reference.py. */
struct Line {
    double scale, shift, noise;
    double inlier_share, significance, pearson_r;
    double value_variance, scale_variance, pivot;
};

enum { UNFIT = 0, FITTED = 1, HELD = 2 };

/* What the host reads of a frame. */
struct Result {
    Line line;
    int status, sample_count, age_frames, unused;
    unsigned int pixels_per_source[6];
    unsigned int padding[2];
};

enum { MEMORY_PARTS = 2 };

/* What is remembered from frame to frame, and what the fit hands to the merge. */
struct State {
    double samples[MEMORY_PARTS][3][DEPTHD_MEMORY_BINS]; /* weight, weight * x, weight * rho, to be added up */
    Line line, aligned;
    int has_line, age_frames;
    int forget, remember; /* of this frame: the scene was cut; its inliers are to be remembered */
    double end, softening;
    DepthdMergeParameters merge;
    float global_noise, value_variance, scale_variance, pivot;
    int fitted;
    int has_predicted, carries_predicted; /* of earlier frames; of this one: 0 after a cut */
    int predicted_turn;                   /* where this frame's goes in Cells::predicted */
    unsigned int largest; /* bits of the largest inverse depth measured in a cell */
    unsigned int arrived; /* of the barrier between blocks that are no cluster */
    int clusters_done;    /* with their part of the consensus */
    int2 candidates[CLUSTERS];

    __device__ __forceinline__ double remembered(int value, int bin) const
    {
        return samples[0][value][bin] + samples[1][value][bin];
    }
};

/* Bilinear sampling of one axis: the lower of the two neighbours, and the part of the upper one. */
struct Place {
    int index;
    float part;
};

/* One value per cell. */
struct Cells {
    float fill[CELL_COUNT], rho[CELL_COUNT], variance[CELL_COUNT], x[CELL_COUNT], x_all[CELL_COUNT];
    float x_range[CELL_COUNT];
    float weight[CELL_COUNT];   /* of the sample, balanced; 0 where the cell is not usable */
    float4 aligned[CELL_COUNT]; /* correction, trust, trust * (error - correction), calm */
    float predicted[2][CELL_COUNT]; /* inverse depth without its flicker: of this frame and of the one before, in turn */
};

/* [1 2 1] / 4 along one axis, DEPTHD_WIDE_PASSES times, nothing beyond the border: nine factors for each place. */
enum { WIDE_TAPS = 2 * DEPTHD_WIDE_PASSES + 1 };

/* Along one axis, the tiles that have cells near a node, N at most, and the first node of each. */
template <int N>
struct NodeTiles {
    int first, count, first_node[N];
};

struct Tables {
    Place grid_x[COLUMNS], grid_y[ROWS];
    NodeTiles<NODE_TILES_ACROSS> tiles_across[GRID_COLUMNS];
    NodeTiles<NODE_TILES_DOWN> tiles_down[GRID_ROWS];
    float wide_columns[GRID_COLUMNS][WIDE_TAPS], wide_rows[GRID_ROWS][WIDE_TAPS];
};

/* Evidence of the alignment, kept from frame to frame. */
struct Evidence {
    __align__(16) float2 nodes[FLAT_COUNT][DEPTHD_GRID_LEVELS]; /* weighted error, weight */
    float2 level_sums[FLAT_COUNT];
};

/* Mono at one pixel, from a map of mono_width columns. */
__device__ __forceinline__ float mono_at(const float *lower, const float *upper, float down, Place across, int mono_width)
{
    const int right = across.index + 1 < mono_width ? across.index + 1 : across.index;
    const float a = lower[across.index], b = lower[right], c = upper[across.index], d = upper[right];
    const float left = a + (c - a) * down, beside = b + (d - b) * down;
    return left + (beside - left) * across.part;
}
