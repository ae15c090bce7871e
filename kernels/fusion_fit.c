/* 2. Consensus, 3. fit, 4. memory. */
#include "fusion_internal.h"

enum { MAXIMUM_CHOSEN = DEPTHD_STRATA * DEPTHD_STRATA };

/* The sample of each part of the picture: the one whose cell, counted among all, has the smallest scrambled index. */
static int choose_stratified(const DepthdFusion *f, int chosen[MAXIMUM_CHOSEN])
{
    int best[MAXIMUM_CHOSEN];
    uint32_t best_key[MAXIMUM_CHOSEN];
    memset(best, -1, sizeof best);
    for (int i = 0; i < f->own.count; i++) {
        const int row = f->sample_cell[i] / f->p.columns, column = f->sample_cell[i] % f->p.columns;
        const int stratum = row * DEPTHD_STRATA / f->p.rows * DEPTHD_STRATA + column * DEPTHD_STRATA / f->p.columns;
        const uint32_t key = depthd_scramble((uint32_t)f->sample_cell[i]);
        if (best[stratum] < 0 || key < best_key[stratum]) {
            best[stratum] = i;
            best_key[stratum] = key;
        }
    }
    int count = 0;
    for (int s = 0; s < MAXIMUM_CHOSEN; s++)
        if (best[s] >= 0) chosen[count++] = best[s];
    return count;
}

DEPTHD_WIDE static double support(const double *restrict x, const double *restrict rho, const double *restrict weight,
                                  int count, double scale, double shift, double end, double stereo_noise,
                                  double inverse_minimum)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; i++) {
        const double predicted = scale * x[i] + shift;
        sum += weight[i] * depthd_support(rho[i], predicted, end, stereo_noise, inverse_minimum);
    }
    return sum;
}

static DepthdLine line_through(const Samples *s, uint32_t trial, int mono_kind)
{
    const uint32_t count = (uint32_t)s->count;
    const uint32_t i = depthd_scramble(2 * trial) % count, j = depthd_scramble(2 * trial + 1) % count;
    DepthdLine line = {.noise = DEPTHD_MONO_NOISE_START, .pearson_r = NAN};
    if (mono_kind == DEPTHD_MONO_METRIC_DEPTH) {
        line.scale = s->rho[i] / s->x[i];
        return line;
    }
    line.scale = (s->rho[j] - s->rho[i]) / (s->x[j] - s->x[i]);
    line.shift = s->rho[i] - line.scale * s->x[i];
    return line;
}

bool depthd_consensus(const DepthdFusion *f, double end, const DepthdLine *earlier, DepthdLine *best)
{
    int chosen[MAXIMUM_CHOSEN];
    double values[3][MAXIMUM_CHOSEN];
    const int count = choose_stratified(f, chosen);
    if (count == 0) return false;
    for (int i = 0; i < count; i++) {
        values[0][i] = f->own.x[chosen[i]];
        values[1][i] = f->own.rho[chosen[i]];
        values[2][i] = f->own.weight[chosen[i]];
    }
    const Samples s = {values[0], values[1], values[2], count};
    const int trials = DEPTHD_HYPOTHESES + (earlier ? 1 : 0);
    double scores[DEPTHD_HYPOTHESES + 1];
#pragma omp parallel for schedule(static) num_threads(f->threads)
    for (int trial = 0; trial < trials; trial++) {
        const DepthdLine line = trial < DEPTHD_HYPOTHESES ? line_through(&s, (uint32_t)trial, f->p.mono_kind) : *earlier;
        const bool good = isfinite(line.scale) && isfinite(line.shift) && line.scale > 0;
        scores[trial] = good ? support(s.x, s.rho, s.weight, count, line.scale, line.shift, end, f->p.stereo_noise,
                                       f->p.inverse_minimum)
                             : -INFINITY;
    }
    int winner = 0;
    for (int trial = 1; trial < trials; trial++)
        if (scores[trial] > scores[winner]) winner = trial;
    if (scores[winner] == -INFINITY) return false;
    *best = line_through(&s, (uint32_t)winner, f->p.mono_kind);
    if (winner == DEPTHD_HYPOTHESES) {
        best->scale = earlier->scale;
        best->shift = earlier->shift;
    }
    return true;
}

typedef struct Moments {
    double weight, x, rho, xx, x_rho, rho_rho;
} Moments;

/* What a sample counts in a sum: its weight if it is plausible at all; times the biweight; times the precision too. */
typedef enum Counting { PLAUSIBLE, INLIER, INFORMATION } Counting;

/* Weighted sums about an origin. */
DEPTHD_WIDE static Moments moments(const Samples *s, double x_origin, double rho_origin, double end, const DepthdLine *line,
                                   const DepthdFusionParameters *p, Counting mode)
{
    const double *restrict xs = s->x, *restrict rhos = s->rho, *restrict weights = s->weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = p->stereo_noise, inverse_minimum = p->inverse_minimum;
    const double by_robust = mode == PLAUSIBLE ? 0.0 : 1.0, by_precision = mode == INFORMATION ? 1.0 : 0.0;
    const int count = s->count;
    double weight = 0, x = 0, rho = 0, xx = 0, x_rho = 0, rho_rho = 0;
#pragma omp simd reduction(+ : weight, x, rho, xx, x_rho, rho_rho)
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift;
        const double precision = 1.0 / depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const double residual = rhos[i] - predicted;
        const double inside = depthd_inside(residual, precision, DEPTHD_TUKEY_FIT);
        const double robust = inside > 0.0 ? inside * inside : 0.0;
        const double kept = predicted < end ? weights[i] : 0.0;
        const double w = kept * (1.0 + by_robust * (robust - 1.0)) * (1.0 + by_precision * (precision - 1.0));
        const double dx = xs[i] - x_origin, dr = rhos[i] - rho_origin;
        weight += w;
        x += w * dx;
        rho += w * dr;
        xx += w * dx * dx;
        x_rho += w * dx * dr;
        rho_rho += w * dr * dr;
    }
    return (Moments){weight, x, rho, xx, x_rho, rho_rho};
}

static Moments add(Moments a, Moments b)
{
    return (Moments){a.weight + b.weight, a.x + b.x, a.rho + b.rho, a.xx + b.xx, a.x_rho + b.x_rho, a.rho_rho + b.rho_rho};
}

/* Sums about the weighted mean, from sums about any origin near it. */
static Moments centred(Moments m)
{
    const double x = m.x / m.weight, rho = m.rho / m.weight;
    return (Moments){m.weight, x, rho, m.xx - m.weight * x * x, m.x_rho - m.weight * x * rho, m.rho_rho - m.weight * rho * rho};
}

/* The means of all samples, a good origin for sums that are centred later. */
static void means(const Samples *s, double *x, double *rho)
{
    double x_sum = 0, rho_sum = 0;
    for (int i = 0; i < s->count; i++) {
        x_sum += s->x[i];
        rho_sum += s->rho[i];
    }
    *x = s->count ? x_sum / s->count : 0.0;
    *rho = s->count ? rho_sum / s->count : 0.0;
}

static DepthdLine least_squares(Moments m, double x_origin, double rho_origin, DepthdLine line, int mono_kind)
{
    if (!(m.weight > 0)) return line;
    if (mono_kind == DEPTHD_MONO_METRIC_DEPTH) {
        const double xx = m.xx + 2 * x_origin * m.x + m.weight * x_origin * x_origin;
        const double x_rho = m.x_rho + x_origin * m.rho + rho_origin * m.x + m.weight * x_origin * rho_origin;
        line.scale = x_rho / xx;
        line.shift = 0.0;
        return line;
    }
    const Moments c = centred(m);
    if (!(c.xx > 0)) return line;
    line.scale = c.x_rho / c.xx;
    line.shift = (rho_origin + c.rho) - line.scale * (x_origin + c.x);
    return line;
}

double depthd_median_noise(const int *bin, const double *weight, int count, double fallback)
{
    double counts[DEPTHD_ERROR_BINS] = {0}, total = 0.0, below = 0.0;
    for (int i = 0; i < count; i++) counts[bin[i]] += weight[i];
    for (int b = 0; b < DEPTHD_ERROR_BINS; b++) total += counts[b];
    if (!(total > 0)) return fallback;
    int middle = 0;
    while (middle < DEPTHD_ERROR_BINS - 1 && below + counts[middle] < 0.5 * total) below += counts[middle++];
    const double median = (middle + (0.5 * total - below) / counts[middle]) * (DEPTHD_ERROR_MAXIMUM / DEPTHD_ERROR_BINS);
    const double noise = median / DEPTHD_MEDIAN_OF_KEPT;
    return noise < DEPTHD_MONO_NOISE_MINIMUM   ? DEPTHD_MONO_NOISE_MINIMUM
           : noise > DEPTHD_MONO_NOISE_MAXIMUM ? DEPTHD_MONO_NOISE_MAXIMUM
                                               : noise;
}

/* The histogram bin of each sample's relative error, and its weight there: none for outliers. */
DEPTHD_WIDE static void bin_errors(const Samples *s, double end, const DepthdLine *line, const DepthdFusionParameters *p,
                                   int *restrict bin, double *restrict bin_weight)
{
    const double *restrict xs = s->x, *restrict rhos = s->rho, *restrict weights = s->weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = p->stereo_noise, inverse_minimum = p->inverse_minimum;
    for (int i = 0; i < s->count; i++) {
        const double predicted = scale * xs[i] + shift, residual = rhos[i] - predicted;
        const double variance = depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const int kept = (residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT)) & (predicted < end);
        bin_weight[i] = kept ? weights[i] : 0.0;
        bin[i] = depthd_error_bin(rhos[i], predicted > inverse_minimum ? predicted : inverse_minimum);
    }
}

static double pearson_r(Moments m)
{
    const Moments c = centred(m);
    const double product = c.xx * c.rho_rho;
    return c.x_rho / sqrt(product > 1e-60 ? product : 1e-60);
}

DEPTHD_WIDE static double agreeing_share(const Samples *s, double end, const DepthdLine *line,
                                         const DepthdFusionParameters *p)
{
    const double *restrict xs = s->x, *restrict rhos = s->rho, *restrict weights = s->weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = p->stereo_noise, inverse_minimum = p->inverse_minimum;
    double plausible = 0.0, agreeing = 0.0;
#pragma omp simd reduction(+ : plausible, agreeing)
    for (int i = 0; i < s->count; i++) {
        const double predicted = scale * xs[i] + shift, residual = rhos[i] - predicted;
        const double variance = depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const double weight = predicted < end ? weights[i] : 0.0;
        plausible += weight;
        agreeing += residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT) ? weight : 0.0;
    }
    return plausible > 0 ? agreeing / plausible : 1.0;
}

static DepthdLine judged(const Samples *s, double end, DepthdLine line, const DepthdFusionParameters *p)
{
    double x_origin, rho_origin;
    means(s, &x_origin, &rho_origin);
    const Moments inlier = moments(s, x_origin, rho_origin, end, &line, p, INLIER);
    if (!(inlier.weight > 0)) return line;
    const Moments plausible = moments(s, x_origin, rho_origin, end, &line, p, PLAUSIBLE);
    line.pivot = p->mono_kind == DEPTHD_MONO_METRIC_DEPTH ? 0.0 : x_origin + inlier.x / inlier.weight;
    const Moments information = moments(s, line.pivot, rho_origin, end, &line, p, INFORMATION);
    const double scale_information = information.xx * p->independent_share;
    line.inlier_share = agreeing_share(s, end, &line, p);
    line.agreement = pearson_r(plausible);
    line.pearson_r = pearson_r(inlier);
    line.value_variance = 1.0 / (information.weight * p->independent_share);
    line.scale_variance = 1.0 / (scale_information > 1e-30 ? scale_information : 1e-30);
    line.significance = line.scale / sqrt(line.scale_variance);
    return line;
}

DepthdLine depthd_fit_line(const DepthdFusion *f, const Samples *earlier, double end, DepthdLine line, int iterations)
{
    const DepthdFusionParameters *p = &f->p;
    const Samples *own = &f->own;
    double x_origin, rho_origin;
    means(own, &x_origin, &rho_origin);
    for (int iteration = 0; iteration < iterations; iteration++) {
        const Moments m = add(moments(own, x_origin, rho_origin, end, &line, p, INFORMATION),
                              moments(earlier, x_origin, rho_origin, end, &line, p, INFORMATION));
        line = least_squares(m, x_origin, rho_origin, line, p->mono_kind);
        bin_errors(own, end, &line, p, f->bin, f->bin_weight);
        line.noise = depthd_median_noise(f->bin, f->bin_weight, own->count, line.noise);
    }
    return judged(own, end, line, p);
}

bool depthd_acceptable(const DepthdLine *line, const DepthdFusionParameters *p)
{
    return isfinite(line->scale) && line->scale > 0 && line->inlier_share >= p->minimum_inlier_share &&
           line->agreement >= p->minimum_agreement && line->significance >= p->minimum_significance;
}

bool depthd_contradicts(const Samples *s, const DepthdLine *line, double share, double end,
                        const DepthdFusionParameters *p)
{
    return agreeing_share(s, end, line, p) < share;
}

Samples depthd_remembered(const Memory *memory, double buffer[3][DEPTHD_MEMORY_BINS])
{
    Samples s = {buffer[0], buffer[1], buffer[2], 0};
    for (int b = 0; b < DEPTHD_MEMORY_BINS; b++) {
        const double weight = memory->samples[0][b];
        if (!(weight > 1e-3)) continue;
        s.x[s.count] = memory->samples[1][b] / weight;
        s.rho[s.count] = memory->samples[2][b] / weight;
        s.weight[s.count++] = weight;
    }
    return s;
}

void depthd_remember(Memory *memory, const Samples *s, double end, const DepthdLine *line,
                     const DepthdFusionParameters *p)
{
    for (int k = 0; k < 3; k++)
        for (int b = 0; b < DEPTHD_MEMORY_BINS; b++) memory->samples[k][b] *= p->memory_decay;
    for (int i = 0; i < s->count; i++) {
        const double inlier = depthd_inlier_weight(s->x[i], s->rho[i], s->weight[i], end, line, p);
        if (!(inlier > 0)) continue;
        int bin = (int)(depthd_level((float)s->rho[i], (float)p->inverse_minimum, (float)p->inverse_maximum) *
                        DEPTHD_MEMORY_BINS);
        bin = bin < DEPTHD_MEMORY_BINS ? bin : DEPTHD_MEMORY_BINS - 1;
        memory->samples[0][bin] += inlier;
        memory->samples[1][bin] += inlier * s->x[i];
        memory->samples[2][bin] += inlier * s->rho[i];
    }
}

void depthd_forget_scene(Memory *memory, int node_count)
{
    memset(memory->samples, 0, sizeof memory->samples);
    memset(memory->evidence.weighted_error, 0, sizeof(double) * (size_t)node_count);
    memset(memory->evidence.weight, 0, sizeof(double) * (size_t)node_count);
}
