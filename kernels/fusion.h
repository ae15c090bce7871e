/* The fusion on the CPU: one object per camera, one call per frame, nothing allocated once the first frame is through. */
#ifndef DEPTHD_FUSION_H
#define DEPTHD_FUSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As `Parameters` in depthd/fusion/parameters.py: sizes in pixels or cells, inverse depths and noise in 1/m. */
typedef struct DepthdFusionParameters {
    int width, height;
    int cell_px, columns, rows;
    int grid_columns, grid_rows;
    double grid_step;         /* cells between two nodes of the alignment grid */
    double independent_share; /* independent samples that one cell is worth */
    int mono_kind;
    double stereo_noise;
    double stereo_inverse_minimum, stereo_inverse_maximum;
    double inverse_minimum, inverse_maximum;
    double gate_sigmas, gate_minimum, far_claim_factor, near_claim_factor, solid_claim_factor, whole_claim_factor;
    double mono_decay, memory_decay, alignment_decay;
    double minimum_inlier_share, minimum_agreement, minimum_significance;
    int maximum_age_frames;
    int threads; /* 0 = all cores */
} DepthdFusionParameters;

/* rho = scale * x + shift, and how good that is; as `Line` in reference.py. */
typedef struct DepthdLine {
    double scale, shift;
    double noise;
    double inlier_share, significance, pearson_r;
    double value_variance, scale_variance, pivot;
} DepthdLine;

enum { DEPTHD_FIT_UNFIT = 0, DEPTHD_FIT_FITTED = 1, DEPTHD_FIT_HELD = 2 };

typedef struct DepthdFusionResult {
    DepthdLine line; /* NaN where status is UNFIT */
    int status;
    int sample_count;
    int age_frames;
    int64_t pixels_per_source[6];
} DepthdFusionResult;

typedef struct DepthdFusion DepthdFusion;

/* NULL if there is not enough memory. */
DepthdFusion *depthd_fusion_create(const DepthdFusionParameters *parameters);
void depthd_fusion_destroy(DepthdFusion *fusion);
/* Forgets everything about earlier frames. */
void depthd_fusion_reset(DepthdFusion *fusion);

/* stereo_m, depth_m: height * width floats in metres; mono: mono_height * mono_width floats; source: bytes; sigma: IEEE halves.
 * Returns 0, or -1 if memory for a new mono size could not be had. */
int depthd_fusion_fuse(DepthdFusion *fusion, const float *stereo_m, const float *mono, int mono_height, int mono_width,
                       float *depth_m, uint8_t *source, uint16_t *sigma, DepthdFusionResult *result);

#ifdef __cplusplus
}
#endif

#endif
