/* 5. Align locally: what trusted stereo says about the line's local error is spread into the holes. */
#include "fusion_internal.h"

typedef struct Turn {
    DepthdFusion *f;
    double noise, global_noise; /* mono's about the aligned line, and about the line that holds everywhere */
    DepthdLine line;
    bool collect; /* whether the samples are added to the grid */
} Turn;

/* Relative error of the line per sample, the trust in it, and its entry in the histogram. */
DEPTHD_WIDE static void judge_samples(const Turn *turn, const Part *part)
{
    const DepthdFusion *f = turn->f;
    const int first = part->first, count = part->count;
    const double *restrict xs = f->own.x + first, *restrict rhos = f->own.rho + first, *restrict calms = f->calm + first;
    const float *restrict corrections = f->sample_correction + first;
    double *restrict trust = f->trust + first, *restrict error = f->error + first,
                     *restrict bin_weight = f->bin_weight + first, *restrict place = f->place + first;
    const double scale = turn->line.scale, shift = turn->line.shift, noise = turn->noise;
    const DepthdScene scene = f->scene;
    for (int i = 0; i < count; i++) {
        const DepthdCellError cell = depthd_cell_error(rhos[i], scale * xs[i] + shift, corrections[i], calms[i], noise, scene);
        trust[i] = cell.trust;
        error[i] = cell.error;
        bin_weight[i] = cell.bin_weight;
        place[i] = cell.place;
    }
}

static void judge_part(void *context, int number, int worker)
{
    (void)worker;
    const Turn *turn = context;
    DepthdFusion *f = turn->f;
    Part *part = &f->parts[number];
    judge_samples(turn, part);
    depthd_count_errors(f, part);
    if (!turn->collect) return;
    depthd_find_levels(f, f->sample_x_all + part->first, part->count, &turn->line, f->level + part->first);
    depthd_splat(f, part);
}

DEPTHD_WIDE static void take_out(const Turn *turn, const Part *part)
{
    const DepthdFusion *f = turn->f;
    const int first = part->first, count = part->count;
    const double *restrict x = f->own.x + first, *restrict rho = f->own.rho + first;
    const float *restrict correction = f->sample_correction + first;
    double *restrict flat = f->flat_rho + first;
    const double scale = turn->line.scale, shift = turn->line.shift;
    const DepthdScene scene = f->scene;
    for (int i = 0; i < count; i++) flat[i] = rho[i] - correction[i] * depthd_unit(scale * x[i] + shift, scene);
}

/* The new correction at each sample, and what is left of stereo without it. */
static void correct_part(void *context, int number, int worker)
{
    const Turn *turn = context;
    DepthdFusion *f = turn->f;
    const Part *part = &f->parts[number];
    for (int row = part->first_row; row < part->last_row; row++) {
        const int first = f->row_first[row];
        depthd_sample_row(f, f->node_correction, row, f->sample_node + first, f->sample_right + first, f->level + first,
                          f->row_count[row], depthd_scratch_of(f, worker), f->sample_correction + first);
    }
    take_out(turn, part);
}

DEPTHD_WIDE static void claim_sigma(const Turn *turn, int first)
{
    const DepthdFusion *f = turn->f;
    const DepthdLine *line = &turn->line;
    const float *restrict x = f->cells.x_all + first;
    float *restrict sigma = f->alignment.sigma + first;
    const double noise = f->alignment.noise, global_noise = turn->global_noise;
    const double scale = line->scale, shift = line->shift, pivot = line->pivot;
    const double value_variance = line->value_variance, scale_variance = line->scale_variance;
    const DepthdScene scene = f->scene;
    const int columns = f->p.columns;
    for (int c = 0; c < columns; c++)
        sigma[c] = (float)depthd_cell_sigma(scale * x[c] + shift, x[c] - pivot, noise, global_noise, value_variance,
                                            scale_variance, scene);
}

/* What the cells of one row say beyond the correction, how calm and how full they are, smoothed along it: [1 4 6 4 1] / 16. */
static void rim_of_row(const DepthdFusion *f, int row, Rim *scratch)
{
    const int columns = f->p.columns, first_cell = row * columns;
    memset(scratch, 0, sizeof(Rim) * (size_t)columns);
    for (int i = f->row_first[row]; i < f->row_first[row] + f->row_count[row]; i++) {
        const double error = f->error[i] - f->correction[f->sample_cell[i]];
        scratch[f->sample_cell[i] - first_cell] = (Rim){f->trust[i] * error, f->trust[i], 0.0, 0.0};
    }
    for (int c = 0; c < columns; c++) {
        const float fill = f->cells.fill[first_cell + c], variance = f->cells.variance[first_cell + c];
        scratch[c].calm = fill >= DEPTHD_MINIMUM_FILL ? depthd_calm(fill, variance, f->p.stereo_noise) : 0.0;
        scratch[c].fill = fill;
    }
    double *once = &scratch[columns].weighted_error;
    depthd_blur(&scratch->weighted_error, once, RIM_VALUES * columns, RIM_VALUES);
    depthd_blur(once, &f->rim[first_cell].weighted_error, RIM_VALUES * columns, RIM_VALUES);
}

/* Correction, claimed error, and what the rims say of one row of cells. */
static void describe_row(void *context, int row, int worker)
{
    const Turn *turn = context;
    const DepthdFusion *f = turn->f;
    const int columns = f->p.columns, first = row * columns;
    float *level = depthd_scratch_of(f, worker), *scratch = level + columns;
    depthd_find_levels(f, f->cells.x_all + first, columns, &turn->line, level);
    depthd_sample_row(f, f->node_correction, row, f->grid_x.index, f->grid_x.part, level, columns, scratch,
                      f->correction + first);
    claim_sigma(turn, first);
    rim_of_row(f, row, (Rim *)depthd_scratch_of(f, worker));
}

/* [1 4 6 4 1] / 16 across the rows of cells: two passes of [1 2 1] / 4, the first of which writes nothing beyond the border. */
DEPTHD_WIDE static void bend_row(const Turn *turn, int row)
{
    const DepthdFusion *f = turn->f;
    const int columns = f->p.columns, rows = f->p.rows, first = row * columns;
    const float blurred = (float)(DEPTHD_BLUR_SHARE * turn->line.scale);
    const float *restrict correction = f->correction + first;
    float *restrict bent = f->alignment.correction + first, *restrict share = f->alignment.rim_share + first,
                    *restrict near_claim = f->alignment.near_claim + first,
                    *restrict far_claim = f->alignment.far_claim + first, *restrict blur = f->alignment.blur + first;
    const float *restrict x_range = f->cells.x_range + first;
    const float near_factor = (float)f->p.near_claim_factor, solid_factor = (float)f->p.solid_claim_factor;
    const float far_factor = (float)f->p.far_claim_factor, whole_factor = (float)f->p.whole_claim_factor;
    const double middle = (6 - (row == 0) - (row == rows - 1)) / 16.0;
    const double weights[5] = {row > 1 ? 1 / 16.0 : 0, row > 0 ? 4 / 16.0 : 0, middle, row < rows - 1 ? 4 / 16.0 : 0,
                               row < rows - 2 ? 1 / 16.0 : 0};
    const Rim *lines[5];
    for (int k = 0; k < 5; k++) lines[k] = f->rim + columns * (weights[k] > 0 ? row + k - 2 : row);
    for (int c = 0; c < columns; c++) {
        double error = 0.0, weight = 0.0, calm = 0.0, fill = 0.0;
        for (int k = 0; k < 5; k++) {
            error += weights[k] * lines[k][c].weighted_error;
            weight += weights[k] * lines[k][c].weight;
            calm += weights[k] * lines[k][c].calm;
            fill += weights[k] * lines[k][c].fill;
        }
        bent[c] = (float)(correction[c] + error / (weight + DEPTHD_RIM_PRIOR));
        share[c] = (float)(weight / (weight + DEPTHD_RIM_PRIOR));
        near_claim[c] = depthd_claim((float)calm, DEPTHD_SOLIDITY_DOUBLINGS, near_factor, solid_factor);
        far_claim[c] = depthd_claim((float)fill, DEPTHD_WHOLENESS_DOUBLINGS, far_factor, whole_factor);
        blur[c] = blurred * x_range[c];
    }
}

/* Bends the correction of one row of cells so that neither line nor alignment let their depth flicker. */
DEPTHD_WIDE static void steady_row(const Turn *turn, int row)
{
    const DepthdFusion *f = turn->f;
    const int columns = f->p.columns, first = row * columns;
    const float *restrict x = f->cells.x_all + first;
    float *restrict bent = f->alignment.correction + first, *restrict before = f->memory.predicted + first;
    const float scale = (float)turn->line.scale, shift = (float)turn->line.shift;
    const float decay = f->memory.has_predicted ? (float)f->p.mono_decay : 0.0f;
    const DepthdScene scene = f->scene;
    for (int c = 0; c < columns; c++) {
        const float base = scale * x[c] + shift, unit = (float)depthd_unit(base, scene);
        const float predicted = base + bent[c] * unit, steady = depthd_steady(predicted, before[c], unit, decay);
        bent[c] += (steady - predicted) / unit;
        before[c] = steady;
    }
}

/* Adds to the correction what holds at the rim of a hole, and stretches it to the picture's width. */
static void finish_row(void *context, int row, int worker)
{
    const Turn *turn = context;
    const DepthdFusion *f = turn->f;
    const int columns = f->p.columns;
    bend_row(turn, row);
    steady_row(turn, row);
    float *correction = depthd_scratch_of(f, worker);
    memcpy(correction, f->alignment.correction + row * columns, sizeof(float) * (size_t)columns);
    correction[columns] = correction[columns - 1];
    depthd_upsample_row(correction, &f->cell_x, f->p.width, f->wide_correction + (size_t)row * f->p.width);
}

/* Line and correction take turns, since a distortion that grows across the picture also tilts the line. */
DepthdLine depthd_align(DepthdFusion *f, DepthdLine line, bool refit)
{
    const Samples nothing = {NULL, NULL, NULL, 0};
    Turn turn = {f, line.noise, line.noise, line, true};
    memset(f->sample_correction, 0, sizeof(float) * (size_t)f->cell_count);
    for (int round = 0; round < DEPTHD_ALIGNMENT_ROUNDS; round++) {
        depthd_team_share(f->team, DEPTHD_PARTS, judge_part, &turn);
        turn.noise = depthd_median_noise(f, turn.noise);
        depthd_smooth(f);
        depthd_team_share(f->team, DEPTHD_PARTS, correct_part, &turn);
        if (!refit || round == DEPTHD_ALIGNMENT_ROUNDS - 1) continue;
        turn.line.noise = turn.noise;
        turn.line = depthd_fit_line(f, f->flat_rho, &nothing, turn.line, DEPTHD_REFIT_ITERATIONS);
        turn.noise = turn.line.noise;
        if (round == DEPTHD_ALIGNMENT_ROUNDS - 2) turn.line = depthd_judged(f, f->flat_rho, turn.line);
    }
    Node *kept = f->memory.evidence;
    f->memory.evidence = f->evidence;
    f->evidence = kept;
    turn.collect = false;
    depthd_team_share(f->team, DEPTHD_PARTS, judge_part, &turn);
    f->alignment.noise = depthd_median_noise(f, turn.noise);
    depthd_team_share(f->team, f->p.rows, describe_row, &turn);
    depthd_team_share(f->team, f->p.rows, finish_row, &turn);
    f->memory.has_predicted = true;
    return turn.line;
}
