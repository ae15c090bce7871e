/* The mathematics of the fusion, per sample and per pixel. One source for the C extension and, through NVRTC, for CUDA.
 *
 * depthd/fusion/reference.py is the specification: every constant and function here has its twin there, under the same
 * name, and a test holds the constants together. Inverse depth is rho (1/m); x is mono turned so that rho = scale * x + shift.
 */
#ifndef DEPTHD_DEPTH_MATH_H
#define DEPTHD_DEPTH_MATH_H

/* Samples are computed in double on the CPU. On a GPU, where doubles are few, in float: each sample is rounded by itself, and
 * what is added up from them is solved in double. */
#ifdef __CUDACC__
#define DEPTHD_FUNCTION __device__ __forceinline__
#define DEPTHD_QUOTIENT(a, b) __fdividef(a, b)
typedef float DepthdReal;
#else
#include <math.h>
#include <stdint.h>
#define DEPTHD_FUNCTION static inline
#define DEPTHD_QUOTIENT(a, b) ((a) / (b))
typedef double DepthdReal;
#endif
#define DEPTHD_REAL(constant) ((DepthdReal)(constant))

enum {
    DEPTHD_STRATA = 32,
    DEPTHD_HYPOTHESES = 512,
    DEPTHD_FIT_ITERATIONS = 6,
    DEPTHD_REFIT_ITERATIONS = 1,
    DEPTHD_ALIGNMENT_ROUNDS = 3,
    DEPTHD_BALANCE_BINS = 16,
    DEPTHD_MEMORY_BINS = 32,
    DEPTHD_ERROR_BINS = 1024,
    DEPTHD_GRID_LEVELS = 16,
    DEPTHD_WIDE_PASSES = 4,
    DEPTHD_SOLIDITY_DOUBLINGS = 4,
    DEPTHD_WHOLENESS_DOUBLINGS = 3,
};

#define DEPTHD_HYPOTHESIS_TOLERANCE 0.12
#define DEPTHD_OUTLIER_COST 0.35
#define DEPTHD_IMPLAUSIBLE_COST 0.02
#define DEPTHD_CUT_SHARE 0.5
#define DEPTHD_TUKEY_FIT 3.0
#define DEPTHD_TUKEY_ALIGNMENT 3.5
#define DEPTHD_BALANCE_FLOOR 0.01
#define DEPTHD_MONO_NOISE_START 0.05
#define DEPTHD_MONO_NOISE_MINIMUM 0.01
#define DEPTHD_MONO_NOISE_MAXIMUM 0.1
#define DEPTHD_SOFTENING 0.2
#define DEPTHD_ERROR_MAXIMUM 0.5
#define DEPTHD_MEDIAN_OF_KEPT (0.6745 * 0.95)
#define DEPTHD_RANGE_END 0.98
#define DEPTHD_END_FADE 0.02
#define DEPTHD_MINIMUM_FILL 0.25
#define DEPTHD_NODE_PRIOR 0.2
#define DEPTHD_COLUMN_PRIOR 0.3
#define DEPTHD_WIDE_PRIOR 0.02
#define DEPTHD_RIM_PRIOR 0.3
#define DEPTHD_BLUR_SHARE 0.4
#define DEPTHD_NOISE_SPREAD 1.4
#define DEPTHD_LINE_SHARE 0.3
#define DEPTHD_STEADY_TOLERANCE 0.05f
#define DEPTHD_SIGMA_MINIMUM 1e-4f
#define DEPTHD_SIGMA_MAXIMUM 1e4f

enum { DEPTHD_MONO_RELATIVE_INVERSE = 0, DEPTHD_MONO_METRIC_DEPTH = 1, DEPTHD_MONO_RELATIVE_DEPTH = 2 };

/* Values of `Source` in depthd/frame.py and kernels/include/depthd.h. */
enum {
    DEPTHD_PIXEL_INVALID = 0,
    DEPTHD_PIXEL_STEREO = 1,
    DEPTHD_PIXEL_MONO_NEAR = 2,
    DEPTHD_PIXEL_MONO_HOLE = 3,
    DEPTHD_PIXEL_MONO_OVERRULED = 4,
    DEPTHD_PIXEL_BLEND = 5,
};

/* What merging one pixel needs to know of the frame. */
typedef struct DepthdMergeParameters {
    float scale, shift;                     /* rho = scale * x + shift */
    float mono_noise;                       /* relative, about the aligned line */
    float stereo_noise;                     /* 1/m */
    float softening;                        /* as in DepthdScene */
    float stereo_minimum_m, stereo_maximum_m;
    float inverse_minimum, inverse_maximum; /* published range, 1/m */
    float gate_sigmas, gate_minimum;
} DepthdMergeParameters;

typedef struct DepthdPixel {
    float depth_m, sigma;
    unsigned char source;
} DepthdPixel;

/* What a frame tells about itself, in 1/m, and what goes with it. */
typedef struct DepthdScene {
    DepthdReal end;       /* of stereo's range */
    DepthdReal softening; /* what mono's error does not fall under, times its relative noise */
    DepthdReal stereo_noise, inverse_minimum;
} DepthdScene;

/* What mono's error at an inverse depth is relative to. */
DEPTHD_FUNCTION DepthdReal depthd_unit(DepthdReal predicted, DepthdScene scene)
{
    return (predicted > scene.inverse_minimum ? predicted : scene.inverse_minimum) + scene.softening;
}

/* Biweight, zero outside the unit interval. Beaton and Tukey, 1974. */
DEPTHD_FUNCTION DepthdReal depthd_tukey(DepthdReal u)
{
    const DepthdReal inside = DEPTHD_REAL(1) - u * u;
    return inside > 0 ? inside * inside : 0;
}

/* 1 - u² of the biweight, where u = residual / (width * sigma); an outlier where it is not positive. */
DEPTHD_FUNCTION DepthdReal depthd_inside(DepthdReal residual, DepthdReal precision, double width)
{
    return DEPTHD_REAL(1) - residual * residual * precision * DEPTHD_REAL(1.0 / (width * width));
}

/* A bijection of 32-bit integers that looks random: the finaliser of MurmurHash3. */
DEPTHD_FUNCTION uint32_t depthd_scramble(uint32_t value)
{
    value = (value ^ (value >> 16)) * 0x85EBCA6Bu;
    value = (value ^ (value >> 13)) * 0xC2B2AE35u;
    return value ^ (value >> 16);
}

/* Undoes depthd_scramble. */
DEPTHD_FUNCTION uint32_t depthd_unscramble(uint32_t value)
{
    value = (value ^ (value >> 16)) * 0x7ED1B41Du;
    value = (value ^ (value >> 13) ^ (value >> 26)) * 0xA5CB9243u;
    return value ^ (value >> 16);
}

/* Variance of stereo minus mono, 1/m². */
DEPTHD_FUNCTION DepthdReal depthd_variance(DepthdReal predicted, DepthdReal mono_noise, DepthdScene scene)
{
    const DepthdReal mono = mono_noise * depthd_unit(predicted, scene);
    return scene.stereo_noise * scene.stereo_noise + mono * mono;
}

/* Weight of a cell by how far its stereo values scatter. */
DEPTHD_FUNCTION DepthdReal depthd_calm(DepthdReal fill, DepthdReal variance, DepthdReal stereo_noise)
{
    return DEPTHD_QUOTIENT(fill, DEPTHD_REAL(1) + variance / (DEPTHD_REAL(4) * stereo_noise * stereo_noise));
}

/* How much a sample speaks for a hypothesis, and more than the stereo of another place would. Where the hypothesis puts it beyond
 * what stereo can measure, it says nothing, and costs a little: a line that puts all of them there explains nothing. */
DEPTHD_FUNCTION DepthdReal depthd_support(DepthdReal rho, DepthdReal rho_elsewhere, DepthdReal predicted, DepthdScene scene)
{
    const DepthdReal tolerance =
        DEPTHD_REAL(DEPTHD_HYPOTHESIS_TOLERANCE) * depthd_unit(predicted, scene) + DEPTHD_REAL(3) * scene.stereo_noise;
    const DepthdReal share = DEPTHD_QUOTIENT(DEPTHD_REAL(1), tolerance);
    const DepthdReal explained = depthd_tukey((rho - predicted) * share) - depthd_tukey((rho_elsewhere - predicted) * share);
    return predicted < scene.end ? explained - DEPTHD_REAL(DEPTHD_OUTLIER_COST) : -DEPTHD_REAL(DEPTHD_IMPLAUSIBLE_COST);
}

/* Where a sample's relative error lies among the centres of the histogram's bins, 0 to DEPTHD_ERROR_BINS - 1. */
DEPTHD_FUNCTION DepthdReal depthd_error_place(DepthdReal residual, DepthdReal unit)
{
    const DepthdReal bins = (residual < 0 ? -residual : residual) * DEPTHD_REAL(DEPTHD_ERROR_BINS / DEPTHD_ERROR_MAXIMUM);
    const DepthdReal place = DEPTHD_QUOTIENT(bins, unit) - DEPTHD_REAL(0.5);
    const DepthdReal above = place > 0 ? place : 0;
    return above < DEPTHD_REAL(DEPTHD_ERROR_BINS - 1) ? above : DEPTHD_REAL(DEPTHD_ERROR_BINS - 1);
}

/* What stereo says about one cell's aligned mono: the trust in it, its relative error, and its entry in the histogram. */
typedef struct DepthdCellError {
    DepthdReal trust, error, bin_weight, place;
} DepthdCellError;

DEPTHD_FUNCTION DepthdCellError depthd_cell_error(
    DepthdReal rho, DepthdReal line_value, DepthdReal correction, DepthdReal calm, DepthdReal noise, DepthdScene scene)
{
    const DepthdReal unit = depthd_unit(line_value, scene), predicted = line_value + correction * unit;
    const DepthdReal precision = DEPTHD_QUOTIENT(DEPTHD_REAL(1), depthd_variance(predicted, noise, scene));
    const DepthdReal inside = depthd_inside(rho - predicted, precision, DEPTHD_TUKEY_ALIGNMENT);
    const DepthdReal fading = DEPTHD_QUOTIENT(scene.end - predicted, DEPTHD_REAL(DEPTHD_END_FADE) * scene.end);
    const DepthdReal plausible = fading > 0 ? calm * (fading < 1 ? fading : 1) : 0;
    DepthdCellError cell;
    cell.trust = inside > 0 ? plausible * inside * inside : 0;
    cell.error = DEPTHD_QUOTIENT(rho - line_value, unit);
    cell.bin_weight = inside > 0 ? plausible : 0;
    cell.place = depthd_error_place(rho - predicted, depthd_unit(predicted, scene));
    return cell;
}

/* Octaves above 1, linear within each octave: the exponent and mantissa of a float read as one number. It grows like the binary
 * logarithm, costs nothing, and is the same on every device. */
DEPTHD_FUNCTION float depthd_octaves(float value)
{
    union { float f; int32_t i; } bits;
    bits.f = value;
    return (float)(bits.i - 0x3F800000) * (1.0f / 8388608.0f);
}

/* Where an inverse depth lies in the published range, 0 to 1, in octaves. */
DEPTHD_FUNCTION float depthd_level(float rho, float inverse_minimum, float inverse_maximum)
{
    float clipped = rho > inverse_minimum ? rho : inverse_minimum;
    clipped = clipped < inverse_maximum ? clipped : inverse_maximum;
    const float low = depthd_octaves(inverse_minimum), high = depthd_octaves(inverse_maximum);
    return DEPTHD_QUOTIENT(depthd_octaves(clipped) - low, high - low);
}

/* Depth-like outputs are inverted; what is not finite, or not positive there, is unknown. */
DEPTHD_FUNCTION float depthd_mono_as_linear(float mono, int kind)
{
    if (!(fabsf(mono) <= 3.402823466e38f)) return NAN;
    if (kind == DEPTHD_MONO_RELATIVE_INVERSE) return mono;
    return mono > 0.0f ? 1.0f / mono : NAN;
}

/* Relative one-sigma error of aligned mono in a cell: see _relative_sigma() in reference.py. */
DEPTHD_FUNCTION DepthdReal depthd_cell_sigma(
    DepthdReal line_value, DepthdReal from_pivot, DepthdReal noise, DepthdReal global_noise, DepthdReal value_variance,
    DepthdReal scale_variance, DepthdScene scene)
{
    const DepthdReal local = DEPTHD_REAL(DEPTHD_NOISE_SPREAD) * noise, global = DEPTHD_REAL(DEPTHD_LINE_SHARE) * global_noise;
    const DepthdReal unit = depthd_unit(line_value, scene), rho = unit - scene.softening;
    const DepthdReal of_line = value_variance + scale_variance * from_pivot * from_pivot;
    return DEPTHD_QUOTIENT((DepthdReal)sqrt((local * local + global * global) * unit * unit + of_line), rho);
}

/* How much wider than the gate stereo's claim may be: `alone`, and more by how solid or whole its surface is, a share that counts
 * with the power 2 ** doublings. See contradicted() in reference.py. */
DEPTHD_FUNCTION float depthd_claim(float share, int doublings, float alone, float more)
{
    float power = share;
    for (int k = 0; k < doublings; k++) power *= power;
    return alone + more * power;
}

/* A value without its flicker: see steady() in reference.py. What is unknown, now or before, is left as it is now. */
DEPTHD_FUNCTION float depthd_steady(float now, float before, float unit, float decay)
{
    const float change = DEPTHD_QUOTIENT(before - now, DEPTHD_STEADY_TOLERANCE * unit), inside = 1.0f - change * change;
    const float carried = decay * (inside * inside) * (before - now);
    return inside > 0.0f ? now + carried : now;
}

/* float -> IEEE half, round to nearest even, for values that are normal halves; NaN stays NaN. Branchless, so it vectorises. */
DEPTHD_FUNCTION uint16_t depthd_half(float value)
{
    union { float f; uint32_t u; } bits;
    bits.f = value;
    const uint32_t rounded = (bits.u + 0xFFFu + ((bits.u >> 13) & 1u)) >> 13;
    return value == value ? (uint16_t)(rounded - (112u << 10)) : (uint16_t)0x7E00u;
}

/* Decides one pixel. x is NaN where mono is unknown or nothing was fitted; a NaN goes through to what is made of it. Stereo
 * that is kept is passed on bit by bit. Stereo and mono are compared as squares, times stereo_m, which saves a root. One
 * choice after the other, never one inside another: compilers turn only these into vector instructions. */
DEPTHD_FUNCTION DepthdPixel depthd_merge_pixel(
    float stereo_m, float x, float correction, float mono_sigma, float rim_share, float near_claim, float far_claim, float blur,
    const DepthdMergeParameters *p)
{
    const float base = p->scale * x + p->shift;
    float predicted = base + correction * ((base < p->inverse_minimum ? p->inverse_minimum : base) + p->softening);
    predicted = predicted < p->inverse_minimum ? p->inverse_minimum : predicted;
    predicted = predicted > p->inverse_maximum ? p->inverse_maximum : predicted;

    const float squared_sigmas = p->gate_sigmas * p->gate_sigmas, unit = predicted + p->softening;
    const float by_noise = squared_sigmas * (p->stereo_noise * p->stereo_noise) +
                           squared_sigmas * (p->mono_noise * p->mono_noise) * (unit * unit);
    const float by_share = p->gate_minimum * p->gate_minimum * (predicted * predicted);
    const float product = predicted * stereo_m, nearer_by = 1.0f - product;
    const float claim = nearer_by < 0.0f ? far_claim : near_claim;
    const float gate = (by_noise > by_share ? by_noise : by_share) * (claim * claim) * (stereo_m * stereo_m);

    const int known = x == x;
    const int measured = (stereo_m >= p->stereo_minimum_m) & (stereo_m <= p->stereo_maximum_m);
    const float beyond_blur = fabsf(nearer_by) - blur * stereo_m;
    const int contradicted = (beyond_blur > 0.0f) & (beyond_blur * beyond_blur > gate);
    const int kept = measured & !contradicted, valid = kept | known;
    int source = stereo_m < p->stereo_minimum_m ? DEPTHD_PIXEL_MONO_NEAR : DEPTHD_PIXEL_MONO_HOLE;
    source = rim_share >= 0.5f ? DEPTHD_PIXEL_BLEND : source;
    source = measured ? DEPTHD_PIXEL_MONO_OVERRULED : source;
    source = kept ? DEPTHD_PIXEL_STEREO : source;

    /* Where stereo is overruled, either of the two is wrong. */
    const float difference = nearer_by / product, doubtful = sqrtf(mono_sigma * mono_sigma + difference * difference);
    float sigma = measured ? doubtful : mono_sigma;
    sigma = kept ? p->stereo_noise * stereo_m : sigma;
    sigma = sigma > DEPTHD_SIGMA_MINIMUM ? sigma : DEPTHD_SIGMA_MINIMUM;
    sigma = sigma < DEPTHD_SIGMA_MAXIMUM ? sigma : DEPTHD_SIGMA_MAXIMUM;

    DepthdPixel pixel;
    pixel.depth_m = kept ? stereo_m : 1.0f / predicted;
    pixel.sigma = valid ? sigma : NAN;
    pixel.source = (unsigned char)(valid ? source : DEPTHD_PIXEL_INVALID);
    return pixel;
}

#endif
