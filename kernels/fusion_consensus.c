/* 2. Consensus: where to start. */
#include "fusion_internal.h"

enum { MAXIMUM_CHOSEN = DEPTHD_STRATA * DEPTHD_STRATA, TRIALS_OF_A_PART = 16 };

typedef struct Choice {
    const DepthdFusion *f;
    int best[DEPTHD_STRATA][DEPTHD_STRATA]; /* sample of each part of the picture, or -1 */
} Choice;

/* The sample of each part of the picture: the one whose cell, counted among all, has the smallest scrambled index. */
static void choose(void *context, int stratum, int worker)
{
    (void)worker;
    Choice *job = context;
    const DepthdFusion *f = job->f;
    uint32_t best_key[DEPTHD_STRATA];
    int *best = job->best[stratum];
    for (int s = 0; s < DEPTHD_STRATA; s++) best[s] = -1;
    const int first = (stratum * f->p.rows + DEPTHD_STRATA - 1) / DEPTHD_STRATA;
    const int last = ((stratum + 1) * f->p.rows + DEPTHD_STRATA - 1) / DEPTHD_STRATA;
    for (int row = first; row < last; row++) {
        for (int i = f->row_first[row]; i < f->row_first[row] + f->row_count[row]; i++) {
            const int beside = (f->sample_cell[i] - row * f->p.columns) * DEPTHD_STRATA / f->p.columns;
            const uint32_t key = depthd_scramble((uint32_t)f->sample_cell[i]);
            if (best[beside] < 0 || key < best_key[beside]) {
                best[beside] = i;
                best_key[beside] = key;
            }
        }
    }
}

/* Takes the chosen samples together, row by row. */
static int gather(const Choice *choice, double values[3][MAXIMUM_CHOSEN])
{
    const Samples *own = &choice->f->own;
    int count = 0;
    for (int s = 0; s < MAXIMUM_CHOSEN; s++) {
        const int i = choice->best[s / DEPTHD_STRATA][s % DEPTHD_STRATA];
        if (i < 0) continue;
        values[0][count] = own->x[i];
        values[1][count] = own->rho[i];
        values[2][count++] = own->weight[i];
    }
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

typedef struct Vote {
    const DepthdFusionParameters *p;
    const Samples *s;
    double end;
    const DepthdLine *earlier; /* the last trial; may be NULL */
    int trials;
    double scores[DEPTHD_HYPOTHESES + 1];
} Vote;

static void score(void *context, int part, int worker)
{
    (void)worker;
    Vote *job = context;
    const Samples *s = job->s;
    const int first = part * TRIALS_OF_A_PART;
    for (int trial = first; trial < depthd_smaller(first + TRIALS_OF_A_PART, job->trials); trial++) {
        const DepthdLine line = trial < DEPTHD_HYPOTHESES ? line_through(s, (uint32_t)trial, job->p->mono_kind) : *job->earlier;
        const bool good = isfinite(line.scale) && isfinite(line.shift) && line.scale > 0;
        job->scores[trial] = good ? support(s->x, s->rho, s->weight, s->count, line.scale, line.shift, job->end,
                                            job->p->stereo_noise, job->p->inverse_minimum)
                                  : -INFINITY;
    }
}

bool depthd_consensus(DepthdFusion *f, double end, const DepthdLine *earlier, DepthdLine *best)
{
    Choice choice = {.f = f};
    depthd_team_share(f->team, DEPTHD_STRATA, choose, &choice);
    double values[3][MAXIMUM_CHOSEN];
    const Samples s = {values[0], values[1], values[2], gather(&choice, values)};
    if (s.count == 0) return false;
    Vote vote = {.p = &f->p, .s = &s, .end = end, .earlier = earlier, .trials = DEPTHD_HYPOTHESES + (earlier ? 1 : 0)};
    depthd_team_share(f->team, (vote.trials + TRIALS_OF_A_PART - 1) / TRIALS_OF_A_PART, score, &vote);
    int winner = 0;
    for (int trial = 1; trial < vote.trials; trial++)
        if (vote.scores[trial] > vote.scores[winner]) winner = trial;
    if (vote.scores[winner] == -INFINITY) return false;
    *best = line_through(&s, (uint32_t)winner, f->p.mono_kind);
    if (winner == DEPTHD_HYPOTHESES) {
        best->scale = earlier->scale;
        best->shift = earlier->shift;
    }
    return true;
}
