/* 3. Fit: iteratively reweighted least squares, and what tells a good line from a bad one. */
#include "fusion_internal.h"

/* The line under test, and the samples of one part. */
typedef struct Against {
    DepthdFusion *f;
    const double *rho;
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
DEPTHD_WIDE static Moments moments(Span s, const DepthdFusion *f, const DepthdLine *line)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const DepthdScene scene = f->scene;
    const double x_origin = f->x_origin, rho_origin = f->rho_origin;
    const int count = s.count;
    double weight = 0, x = 0, rho = 0, xx = 0, x_rho = 0, rho_rho = 0;
#pragma omp simd reduction(+ : weight, x, rho, xx, x_rho, rho_rho)
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift;
        const double precision = 1.0 / depthd_variance(predicted, noise, scene);
        const double inside = depthd_inside(rhos[i] - predicted, precision, DEPTHD_TUKEY_FIT);
        const double robust = inside > 0.0 ? inside * inside : 0.0;
        const double w = (predicted < scene.end ? weights[i] : 0.0) * robust * precision;
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

/* Where each sample's relative error lies in the histogram, and its weight there: none for outliers. */
DEPTHD_WIDE static void place_errors(Span s, DepthdScene frame, const DepthdLine *line, double *restrict place,
                                     double *restrict bin_weight)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const DepthdScene scene = frame;
    const int count = s.count;
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift, residual = rhos[i] - predicted;
        const double variance = depthd_variance(predicted, noise, scene);
        const int kept = (residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT)) & (predicted < scene.end);
        bin_weight[i] = kept ? weights[i] : 0.0;
        place[i] = depthd_error_place(residual, depthd_unit(predicted, scene));
    }
}

void depthd_count_errors(DepthdFusion *f, Part *part)
{
    memset(part->errors, 0, sizeof part->errors);
    for (int i = part->first; i < part->first + part->count; i++) {
        const int lower = depthd_smaller((int)f->place[i], DEPTHD_ERROR_BINS - 2);
        const double above = f->bin_weight[i] * (f->place[i] - lower);
        part->errors[lower] += f->bin_weight[i] - above;
        part->errors[lower + 1] += above;
    }
}

/* A step's look at the samples of one part: sums, and errors about the line that the step begins with. */
static void take_step(void *context, int number, int worker)
{
    (void)worker;
    const Against *job = context;
    Part *part = &job->f->parts[number];
    part->moments = moments(span_of(job, part), job->f, &job->line);
    place_errors(span_of(job, part), job->f->scene, &job->line, job->f->place + part->first, job->f->bin_weight + part->first);
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

DepthdLine depthd_fit_line(DepthdFusion *f, const double *rho, const Samples *earlier, DepthdLine line,
                           int iterations)
{
    Against job = {f, rho, line};
    const Span before = {earlier->x, earlier->rho, earlier->weight, earlier->count};
    for (int iteration = 0; iteration < iterations; iteration++) {
        depthd_team_share(f->team, DEPTHD_PARTS, take_step, &job);
        Moments sum = moments(before, f, &job.line);
        for (int k = 0; k < DEPTHD_PARTS; k++) sum = add(sum, f->parts[k].moments);
        const double noise = depthd_median_noise(f, job.line.noise);
        job.line = least_squares(sum, f, job.line);
        job.line.noise = noise;
    }
    return job.line;
}

/* Everything that judging a line needs, in one pass. */
DEPTHD_WIDE static Judgement judge(Span s, const DepthdFusion *f, const DepthdLine *line)
{
    const double *restrict xs = s.x, *restrict rhos = s.rho, *restrict weights = s.weight;
    const double noise = line->noise, scale = line->scale, shift = line->shift;
    const DepthdScene scene = f->scene;
    const double x_origin = f->x_origin, rho_origin = f->rho_origin;
    const int count = s.count;
    Judgement sum = {0};
    for (int i = 0; i < count; i++) {
        const double predicted = scale * xs[i] + shift;
        const double precision = 1.0 / depthd_variance(predicted, noise, scene);
        const double inside = depthd_inside(rhos[i] - predicted, precision, DEPTHD_TUKEY_FIT);
        const double robust = inside > 0.0 ? inside * inside : 0.0;
        const double plausible = predicted < scene.end ? weights[i] : 0.0, inlier = plausible * robust;
        const double information = inlier * precision;
        const double dx = xs[i] - x_origin, dr = rhos[i] - rho_origin;
        sum.plausible += plausible;
        sum.agreeing += inside > 0.0 ? plausible : 0.0;
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
    part->judgement = judge(span_of(job, part), job->f, &job->line);
}

static Judgement all_judgements(const DepthdFusion *f)
{
    Judgement sum = {0};
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        const Judgement *part = &f->parts[k].judgement;
        sum.plausible += part->plausible;
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

DepthdLine depthd_judged(DepthdFusion *f, const double *rho, DepthdLine line)
{
    Against job = {f, rho, line};
    depthd_team_share(f->team, DEPTHD_PARTS, take_judgement, &job);
    const Judgement sum = all_judgements(f);
    if (!(sum.inlier.weight > 0)) return line;
    const double x_mean = f->x_origin + sum.inlier.x / sum.inlier.weight, share = f->p.independent_share;
    line.pivot = f->p.mono_kind == DEPTHD_MONO_METRIC_DEPTH ? 0.0 : x_mean;
    const double moved = line.pivot - f->x_origin;
    const Moments information = sum.information;
    const double scale_information = (information.xx - 2 * moved * information.x + moved * moved * information.weight) * share;
    line.inlier_share = sum.agreeing / sum.plausible;
    line.pearson_r = pearson_r(sum.inlier);
    line.value_variance = 1.0 / (information.weight * share);
    line.scale_variance = 1.0 / (scale_information > 1e-30 ? scale_information : 1e-30);
    line.significance = line.scale / sqrt(line.scale_variance);
    return line;
}

bool depthd_acceptable(const DepthdLine *line, double agreement, const DepthdFusionParameters *p)
{
    return isfinite(line->scale) && line->scale > 0 && line->inlier_share >= p->minimum_inlier_share &&
           agreement >= p->minimum_agreement && line->significance >= p->minimum_significance;
}

typedef struct Agreement {
    double plausible, agreeing;
} Agreement;

static Agreement agreement_of(Span s, const DepthdLine *line, DepthdScene scene)
{
    Agreement sum = {0};
    for (int i = 0; i < s.count; i++) {
        const double predicted = depthd_line_at(line, s.x[i]), residual = s.rho[i] - predicted;
        const double variance = depthd_variance(predicted, line->noise, scene);
        const double weight = predicted < scene.end ? s.weight[i] : 0.0;
        sum.plausible += weight;
        sum.agreeing += residual * residual < variance * (DEPTHD_TUKEY_FIT * DEPTHD_TUKEY_FIT) ? weight : 0.0;
    }
    return sum;
}

static double share_of(Agreement sum) { return sum.plausible > 0 ? sum.agreeing / sum.plausible : 1.0; }

double depthd_agreeing_share(const Samples *s, const DepthdLine *line, DepthdScene scene)
{
    return share_of(agreement_of((Span){s->x, s->rho, s->weight, s->count}, line, scene));
}

double depthd_agreeing_share_of_frame(const DepthdFusion *f, const DepthdLine *line)
{
    Agreement sum = {0};
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        const Part *part = &f->parts[k];
        const Span s = {f->own.x + part->first, f->own.rho + part->first, f->own.weight + part->first, part->count};
        const Agreement of_part = agreement_of(s, line, f->scene);
        sum.plausible += of_part.plausible;
        sum.agreeing += of_part.agreeing;
    }
    return share_of(sum);
}
