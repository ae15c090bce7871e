/* 3. Fit: iteratively reweighted least squares, and what tells a good line from a bad one. */
#include "fusion_internal.h"

/* The line under test, and the samples of one part. */
typedef struct Against {
    DepthdFusion *f;
    const double *rho;
    double end;
    DepthdLine line;
} Against;

typedef struct Span {
    const double *x, *rho, *weight;
    int count;
} Span;

static Span span_of(const Against *job, const Part *part)
{
    const Samples *own = &job->f->own;
    return (Span){own->x + part->first, job->rho + part->first, own->weight + part->first, part->count};
}

/* Sums about the origin, weighted by the biweight and the precision. */
DEPTHD_WIDE static Moments moments(Span s, const DepthdFusion *f, double end, const DepthdLine *line)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = f->p.stereo_noise, inverse_minimum = f->p.inverse_minimum;
    const double x_origin = f->x_origin, rho_origin = f->rho_origin;
    const int count = s.count;
    double weight = 0, x = 0, rho = 0, xx = 0, x_rho = 0, rho_rho = 0;
#pragma omp simd reduction(+ : weight, x, rho, xx, x_rho, rho_rho)
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift;
        const double precision = 1.0 / depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const double inside = depthd_inside(rhos[i] - predicted, precision, DEPTHD_TUKEY_FIT);
        const double robust = inside > 0.0 ? inside * inside : 0.0;
        const double w = (predicted < end ? weights[i] : 0.0) * robust * precision;
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

static void take_moments(void *context, int number, int worker)
{
    (void)worker;
    const Against *job = context;
    Part *part = &job->f->parts[number];
    part->moments = moments(span_of(job, part), job->f, job->end, &job->line);
}

/* Sums about the weighted mean, from sums about any origin near it. */
static Moments centred(Moments m)
{
    const double x = m.x / m.weight, rho = m.rho / m.weight;
    return (Moments){m.weight, x, rho, m.xx - m.weight * x * x, m.x_rho - m.weight * x * rho, m.rho_rho - m.weight * rho * rho};
}

static DepthdLine least_squares(Moments m, const DepthdFusion *f, DepthdLine line)
{
    const double x_origin = f->x_origin, rho_origin = f->rho_origin;
    if (!(m.weight > 0)) return line;
    if (f->p.mono_kind == DEPTHD_MONO_METRIC_DEPTH) {
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

/* The histogram bin of each sample's relative error, and its weight there: none for outliers. */
DEPTHD_WIDE static void bin_errors(Span s, const DepthdFusionParameters *p, double end, const DepthdLine *line,
                                   int *restrict bin, double *restrict bin_weight)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = p->stereo_noise, inverse_minimum = p->inverse_minimum;
    const int count = s.count;
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift, residual = rhos[i] - predicted;
        const double variance = depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const int kept = (residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT)) & (predicted < end);
        bin_weight[i] = kept ? weights[i] : 0.0;
        bin[i] = depthd_error_bin(rhos[i], predicted > inverse_minimum ? predicted : inverse_minimum);
    }
}

void depthd_count_errors(DepthdFusion *f, Part *part)
{
    memset(part->errors, 0, sizeof part->errors);
    for (int i = part->first; i < part->first + part->count; i++) part->errors[f->bin[i]] += f->bin_weight[i];
}

static void take_errors(void *context, int number, int worker)
{
    (void)worker;
    const Against *job = context;
    Part *part = &job->f->parts[number];
    bin_errors(span_of(job, part), &job->f->p, job->end, &job->line, job->f->bin + part->first,
               job->f->bin_weight + part->first);
    depthd_count_errors(job->f, part);
}

DEPTHD_WIDE static double add_histograms(const Part *parts, double *restrict counts)
{
    double total = 0.0;
    for (int b = 0; b < DEPTHD_ERROR_BINS; b++) {
        counts[b] = parts[0].errors[b];
        for (int k = 1; k < DEPTHD_PARTS; k++) counts[b] += parts[k].errors[b];
    }
    for (int b = 0; b < DEPTHD_ERROR_BINS; b++) total += counts[b];
    return total;
}

double depthd_median_noise(const DepthdFusion *f, double fallback)
{
    double counts[DEPTHD_ERROR_BINS], below = 0.0;
    const double total = add_histograms(f->parts, counts);
    if (!(total > 0)) return fallback;
    int middle = 0;
    while (middle < DEPTHD_ERROR_BINS - 1 && below + counts[middle] < 0.5 * total) below += counts[middle++];
    const double median = (middle + (0.5 * total - below) / counts[middle]) * (DEPTHD_ERROR_MAXIMUM / DEPTHD_ERROR_BINS);
    const double noise = median / DEPTHD_MEDIAN_OF_KEPT;
    return noise < DEPTHD_MONO_NOISE_MINIMUM   ? DEPTHD_MONO_NOISE_MINIMUM
           : noise > DEPTHD_MONO_NOISE_MAXIMUM ? DEPTHD_MONO_NOISE_MAXIMUM
                                               : noise;
}

DepthdLine depthd_fit_line(DepthdFusion *f, const double *rho, const Samples *earlier, double end, DepthdLine line,
                           int iterations)
{
    Against job = {f, rho, end, line};
    const Span before = {earlier->x, earlier->rho, earlier->weight, earlier->count};
    for (int iteration = 0; iteration < iterations; iteration++) {
        depthd_team_share(f->team, DEPTHD_PARTS, take_moments, &job);
        Moments sum = moments(before, f, end, &job.line);
        for (int k = 0; k < DEPTHD_PARTS; k++) sum = add(sum, f->parts[k].moments);
        job.line = least_squares(sum, f, job.line);
        depthd_team_share(f->team, DEPTHD_PARTS, take_errors, &job);
        job.line.noise = depthd_median_noise(f, job.line.noise);
    }
    return job.line;
}

/* Everything that judging a line needs, in one pass. */
DEPTHD_WIDE static Judgement judge(Span s, const DepthdFusion *f, double end, const DepthdLine *line)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const double stereo_noise = f->p.stereo_noise, inverse_minimum = f->p.inverse_minimum;
    const double x_origin = f->x_origin, rho_origin = f->rho_origin;
    const int count = s.count;
    Judgement sum = {0};
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift;
        const double precision = 1.0 / depthd_variance(predicted, noise, stereo_noise, inverse_minimum);
        const double inside = depthd_inside(rhos[i] - predicted, precision, DEPTHD_TUKEY_FIT);
        const double robust = inside > 0.0 ? inside * inside : 0.0;
        const double plausible = predicted < end ? weights[i] : 0.0, inlier = plausible * robust;
        const double information = inlier * precision;
        const double dx = xs[i] - x_origin, dr = rhos[i] - rho_origin;
        sum.agreeing += inside > 0.0 ? plausible : 0.0;
        sum.plausible = add(sum.plausible, (Moments){plausible, plausible * dx, plausible * dr, plausible * dx * dx,
                                                     plausible * dx * dr, plausible * dr * dr});
        sum.inlier = add(sum.inlier, (Moments){inlier, inlier * dx, inlier * dr, inlier * dx * dx, inlier * dx * dr,
                                               inlier * dr * dr});
        sum.information.weight += information;
        sum.information.x += information * dx;
        sum.information.xx += information * dx * dx;
    }
    return sum;
}

static void take_judgement(void *context, int number, int worker)
{
    (void)worker;
    const Against *job = context;
    Part *part = &job->f->parts[number];
    part->judgement = judge(span_of(job, part), job->f, job->end, &job->line);
}

static Judgement all_judgements(const DepthdFusion *f)
{
    Judgement sum = {0};
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        const Judgement *part = &f->parts[k].judgement;
        sum.plausible = add(sum.plausible, part->plausible);
        sum.inlier = add(sum.inlier, part->inlier);
        sum.information = add(sum.information, part->information);
        sum.agreeing += part->agreeing;
    }
    return sum;
}

static double pearson_r(Moments m)
{
    const Moments c = centred(m);
    const double product = c.xx * c.rho_rho;
    return c.x_rho / sqrt(product > 1e-60 ? product : 1e-60);
}

DepthdLine depthd_judged(DepthdFusion *f, const double *rho, double end, DepthdLine line)
{
    Against job = {f, rho, end, line};
    depthd_team_share(f->team, DEPTHD_PARTS, take_judgement, &job);
    const Judgement sum = all_judgements(f);
    if (!(sum.inlier.weight > 0)) return line;
    const double x_mean = f->x_origin + sum.inlier.x / sum.inlier.weight, share = f->p.independent_share;
    line.pivot = f->p.mono_kind == DEPTHD_MONO_METRIC_DEPTH ? 0.0 : x_mean;
    const double moved = line.pivot - f->x_origin;
    const Moments information = sum.information;
    const double scale_information = (information.xx - 2 * moved * information.x + moved * moved * information.weight) * share;
    line.inlier_share = sum.agreeing / sum.plausible.weight;
    line.agreement = pearson_r(sum.plausible);
    line.pearson_r = pearson_r(sum.inlier);
    line.value_variance = 1.0 / (information.weight * share);
    line.scale_variance = 1.0 / (scale_information > 1e-30 ? scale_information : 1e-30);
    line.significance = line.scale / sqrt(line.scale_variance);
    return line;
}

bool depthd_acceptable(const DepthdLine *line, const DepthdFusionParameters *p)
{
    return isfinite(line->scale) && line->scale > 0 && line->inlier_share >= p->minimum_inlier_share &&
           line->agreement >= p->minimum_agreement && line->significance >= p->minimum_significance;
}

typedef struct Agreement {
    double plausible, agreeing;
} Agreement;

static Agreement agreement(Span s, const DepthdLine *line, double end, const DepthdFusionParameters *p)
{
    Agreement sum = {0};
    for (int i = 0; i < s.count; i++) {
        const double predicted = depthd_line_at(line, s.x[i]), residual = s.rho[i] - predicted;
        const double variance = depthd_variance(predicted, line->noise, p->stereo_noise, p->inverse_minimum);
        const double weight = predicted < end ? s.weight[i] : 0.0;
        sum.plausible += weight;
        sum.agreeing += residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT) ? weight : 0.0;
    }
    return sum;
}

bool depthd_contradicts(const Samples *s, const DepthdLine *line, double share, double end,
                        const DepthdFusionParameters *p)
{
    const Agreement sum = agreement((Span){s->x, s->rho, s->weight, s->count}, line, end, p);
    return sum.agreeing < share * sum.plausible;
}

bool depthd_frame_contradicts(const DepthdFusion *f, const DepthdLine *line, double share, double end)
{
    Agreement sum = {0};
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        const Part *part = &f->parts[k];
        const Span s = {f->own.x + part->first, f->own.rho + part->first, f->own.weight + part->first, part->count};
        const Agreement of_part = agreement(s, line, end, &f->p);
        sum.plausible += of_part.plausible;
        sum.agreeing += of_part.agreeing;
    }
    return sum.agreeing < share * sum.plausible;
}
