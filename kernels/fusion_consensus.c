/* 2. Consensus: where to start. */
#include "fusion_internal.h"

enum { TRIALS_OF_A_PART = 16 };

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

/* Takes the chosen samples together, row by row, each with the stereo that it would be paired with by chance. */
static void gather(const Choice *choice, DepthdFusion *f)
{
    int count = 0;
    for (int s = 0; s < DEPTHD_STRATA * DEPTHD_STRATA; s++) {
        const int i = choice->best[s / DEPTHD_STRATA][s % DEPTHD_STRATA];
        if (i < 0) continue;
        f->chosen[0][count] = f->own.x[i];
        f->chosen[1][count] = f->own.rho[i];
        f->chosen[2][count++] = f->own.weight[i];
    }
    for (int i = 0; i < count; i++) f->chosen[3][i] = f->chosen[1][depthd_scramble((uint32_t)i) % (uint32_t)count];
    f->chosen_count = count;
}

DEPTHD_WIDE static double support(const DepthdFusion *f, double scale, double shift)
{
    const double *restrict x = f->chosen[0], *restrict rho = f->chosen[1], *restrict weight = f->chosen[2],
                           *restrict elsewhere = f->chosen[3];
    const DepthdScene scene = f->scene;
    const int count = f->chosen_count;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < count; i++) sum += weight[i] * depthd_support(rho[i], elsewhere[i], scale * x[i] + shift, scene);
    return sum;
}

static DepthdLine line_through(const DepthdFusion *f, uint32_t trial)
{
    const double *x = f->chosen[0], *rho = f->chosen[1];
    const uint32_t count = (uint32_t)f->chosen_count;
    const uint32_t i = depthd_scramble(2 * trial) % count, j = depthd_scramble(2 * trial + 1) % count;
    DepthdLine line = {.noise = DEPTHD_MONO_NOISE_START, .pearson_r = NAN};
    if (f->p.mono_kind == DEPTHD_MONO_METRIC_DEPTH) {
        line.scale = rho[i] / x[i];
        return line;
    }
    line.scale = (rho[j] - rho[i]) / (x[j] - x[i]);
    line.shift = rho[i] - line.scale * x[i];
    return line;
}

typedef struct Vote {
    const DepthdFusion *f;
    const DepthdLine *earlier; /* the last trial; may be NULL */
    int trials;
    double scores[DEPTHD_HYPOTHESES + 1];
} Vote;

static void score(void *context, int part, int worker)
{
    (void)worker;
    Vote *job = context;
    const int first = part * TRIALS_OF_A_PART;
    for (int trial = first; trial < depthd_smaller(first + TRIALS_OF_A_PART, job->trials); trial++) {
        const DepthdLine line = trial < DEPTHD_HYPOTHESES ? line_through(job->f, (uint32_t)trial) : *job->earlier;
        const bool good = isfinite(line.scale) && isfinite(line.shift) && line.scale > 0;
        job->scores[trial] = good ? support(job->f, line.scale, line.shift) : -INFINITY;
    }
}

bool depthd_consensus(DepthdFusion *f, const DepthdLine *earlier, DepthdLine *best)
{
    Choice choice = {.f = f};
    depthd_team_share(f->team, DEPTHD_STRATA, choose, &choice);
    gather(&choice, f);
    if (f->chosen_count == 0) return false;
    Vote vote = {.f = f, .earlier = earlier, .trials = DEPTHD_HYPOTHESES + (earlier ? 1 : 0)};
    depthd_team_share(f->team, (vote.trials + TRIALS_OF_A_PART - 1) / TRIALS_OF_A_PART, score, &vote);
    int winner = 0;
    for (int trial = 1; trial < vote.trials; trial++)
        if (vote.scores[trial] > vote.scores[winner]) winner = trial;
    if (vote.scores[winner] == -INFINITY) return false;
    *best = line_through(f, (uint32_t)winner);
    if (winner == DEPTHD_HYPOTHESES) {
        best->scale = earlier->scale;
        best->shift = earlier->shift;
    }
    return true;
}

double depthd_agreement(DepthdFusion *f, const DepthdLine *line)
{
    const Samples paired = {f->chosen[0], f->chosen[1], f->chosen[2], f->chosen_count};
    const Samples by_chance = {paired.x, f->chosen[3], paired.weight, f->chosen_count};
    const double real = depthd_agreeing_share(&paired, line, f->scene);
    const double chance = depthd_agreeing_share(&by_chance, line, f->scene);
    return (real - chance) / (1.0 - chance > 1e-9 ? 1.0 - chance : 1e-9);
}
