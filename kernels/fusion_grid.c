/* 5. The bilateral grid of the alignment: samples are added to it, it is smoothed, and read between its nodes. */
#include "fusion_internal.h"

DEPTHD_WIDE void depthd_find_levels(const DepthdFusion *f, const float *x, int count, const DepthdLine *line, float *level)
{
    const float scale = (float)line->scale, shift = (float)line->shift;
    const float low = (float)f->p.inverse_minimum, high = (float)f->p.inverse_maximum;
    for (int i = 0; i < count; i++) level[i] = depthd_level(scale * x[i] + shift, low, high) * (DEPTHD_GRID_LEVELS - 1);
}

/* Two nodes that lie one above the other. */
typedef double NodePair __attribute__((vector_size(32), aligned(8), may_alias));

/* Adds a sample to the eight nodes around it, by nearness. */
static inline __attribute__((always_inline)) void add_sample(const DepthdFusion *f, Node *lower_row, Node *upper_row,
                                                             double down, int i)
{
    const int level = depthd_smaller((int)f->level[i], DEPTHD_GRID_LEVELS - 2), node = f->sample_node[i] + level;
    const double up = (double)f->level[i] - level, right = f->sample_right[i];
    const double below = f->trust[i] * (1.0 - up), above = f->trust[i] * up, error = f->error[i];
    const NodePair value = {below * error, below, above * error, above};
    *(NodePair *)&lower_row[node] += value * ((1.0 - right) * (1.0 - down));
    *(NodePair *)&lower_row[node + DEPTHD_GRID_LEVELS] += value * (right * (1.0 - down));
    *(NodePair *)&upper_row[node] += value * ((1.0 - right) * down);
    *(NodePair *)&upper_row[node + DEPTHD_GRID_LEVELS] += value * (right * down);
}

DEPTHD_WIDE static void add_samples(const DepthdFusion *f, Node *lower_row, Node *upper_row, double down, int first, int count)
{
    for (int i = first; i < first + count; i++)
        if (f->trust[i] > 0) add_sample(f, lower_row, upper_row, down, i);
}

static size_t row_nodes(const DepthdFusion *f) { return (size_t)f->p.grid_columns * DEPTHD_GRID_LEVELS; }

/* The rows of nodes that a part's samples reach: the first one, and how many. */
static int first_node_row(const DepthdFusion *f, const Part *part) { return f->grid_y.index[part->first_row]; }

static int node_rows(const DepthdFusion *f, const Part *part)
{
    return part->last_row > part->first_row ? f->grid_y.index[part->last_row - 1] + 2 - first_node_row(f, part) : 0;
}

void depthd_splat(const DepthdFusion *f, Part *part)
{
    const size_t nodes = row_nodes(f);
    const int reached = node_rows(f, part);
    if (reached == 0) return;
    memset(part->evidence + (size_t)first_node_row(f, part) * nodes, 0, sizeof(Node) * nodes * (size_t)reached);
    for (int row = part->first_row; row < part->last_row; row++) {
        Node *lower = part->evidence + (size_t)f->grid_y.index[row] * nodes;
        add_samples(f, lower, lower + nodes, f->grid_y.part[row], f->row_first[row], f->row_count[row]);
    }
}

/* This frame's evidence and what is left of the last one's. */
static void collect(DepthdFusion *f)
{
    const size_t nodes = row_nodes(f);
    for (int node = 0; node < f->node_count; node++) {
        f->evidence[node].weighted_error = f->p.alignment_decay * f->memory.evidence[node].weighted_error;
        f->evidence[node].weight = f->p.alignment_decay * f->memory.evidence[node].weight;
    }
    for (int k = 0; k < DEPTHD_PARTS; k++) {
        const Part *part = &f->parts[k];
        const size_t reached = nodes * (size_t)node_rows(f, part);
        if (reached == 0) continue;
        const size_t first = nodes * (size_t)first_node_row(f, part);
        for (size_t node = first; node < first + reached; node++) {
            f->evidence[node].weighted_error += part->evidence[node].weighted_error;
            f->evidence[node].weight += part->evidence[node].weight;
        }
    }
}

DEPTHD_WIDE void depthd_blur(const double *restrict in, double *restrict out, int count, int stride)
{
    for (int i = 0; i < stride; i++) out[i] = 0.5 * in[i] + (count > stride ? 0.25 * in[i + stride] : 0.0);
    for (int i = stride; i < count - stride; i++) out[i] = 0.5 * in[i] + 0.25 * (in[i - stride] + in[i + stride]);
    for (int i = count - stride > stride ? count - stride : stride; i < count; i++)
        out[i] = 0.5 * in[i] + 0.25 * in[i - stride];
}

/* Blurs a plane of rows * columns * depth values along rows and columns, in place. */
static void blur_plane(double *plane, double *scratch, int rows, int columns, int depth)
{
    const int row = columns * depth;
    depthd_blur(plane, scratch, rows * row, row);
    for (int r = 0; r < rows; r++) depthd_blur(scratch + r * row, plane + r * row, row, depth);
}

DEPTHD_WIDE static void sum_levels(const double *restrict nodes, double *restrict sums, int count)
{
    for (int i = 0; i < count; i++) {
        double error = 0.0, weight = 0.0;
        for (int l = 0; l < DEPTHD_GRID_LEVELS; l++) {
            error += nodes[2 * (i * DEPTHD_GRID_LEVELS + l)];
            weight += nodes[2 * (i * DEPTHD_GRID_LEVELS + l) + 1];
        }
        sums[2 * i] = error;
        sums[2 * i + 1] = weight;
    }
}

/* Correction of the nodes of one column of levels. */
DEPTHD_WIDE static void settle(const double *restrict blurred, double column, float *restrict correction)
{
    for (int l = 0; l < DEPTHD_GRID_LEVELS; l++) {
        const double error = blurred[2 * l], weight = blurred[2 * l + 1];
        correction[l] = (float)((error + DEPTHD_NODE_PRIOR * column) / (weight + DEPTHD_NODE_PRIOR));
    }
}

/* Turns the evidence into a correction at each node. */
void depthd_smooth(DepthdFusion *f)
{
    collect(f);
    const int rows = f->p.grid_rows, columns = f->p.grid_columns, flat = rows * columns, levels = DEPTHD_GRID_LEVELS;
    double *blurred = f->grid_scratch, *scratch = blurred + 2 * f->node_count, *wide = scratch + 2 * f->node_count,
           *near = wide + 2 * flat;
    sum_levels(&f->evidence->weighted_error, wide, flat);
    for (int pass = 0; pass < DEPTHD_WIDE_PASSES; pass++) blur_plane(wide, scratch, rows, columns, 2);
    memcpy(blurred, f->evidence, sizeof(Node) * (size_t)f->node_count);
    blur_plane(blurred, scratch, rows, columns, 2 * levels);
    sum_levels(blurred, near, flat);
    for (int i = 0; i < flat; i++) {
        const double surroundings = wide[2 * i] / (wide[2 * i + 1] + DEPTHD_WIDE_PRIOR);
        const double column = (near[2 * i] + DEPTHD_COLUMN_PRIOR * surroundings) / (near[2 * i + 1] + DEPTHD_COLUMN_PRIOR);
        depthd_blur(blurred + 2 * levels * i, scratch, 2 * levels, 2);
        settle(scratch, column, f->node_correction + levels * i);
    }
}

DEPTHD_WIDE static void blend_rows(const float *restrict lower, const float *restrict upper, float part, int count,
                                   float *restrict out)
{
    for (int i = 0; i < count; i++) out[i] = lower[i] + (upper[i] - lower[i]) * part;
}

DEPTHD_WIDE static void sample_blended(const float *restrict blended, const int *restrict node, const float *restrict right,
                                       const float *restrict level, int count, float *restrict out)
{
    for (int i = 0; i < count; i++) {
        const int l = (int)level[i] < DEPTHD_GRID_LEVELS - 2 ? (int)level[i] : DEPTHD_GRID_LEVELS - 2;
        const float up = level[i] - l;
        const int left = node[i] + l, beyond = left + DEPTHD_GRID_LEVELS;
        const float here = blended[left] + (blended[left + 1] - blended[left]) * up;
        const float beside = blended[beyond] + (blended[beyond + 1] - blended[beyond]) * up;
        out[i] = here + (beside - here) * right[i];
    }
}

/* Trilinear interpolation of a value of the nodes at places in one row of cells; scratch: one float per node of a row. */
void depthd_sample_row(const DepthdFusion *f, const float *nodes, int row, const int *node, const float *right,
                       const float *level, int count, float *scratch, float *out)
{
    const float *lower = nodes + (size_t)f->grid_y.index[row] * row_nodes(f);
    blend_rows(lower, lower + row_nodes(f), f->grid_y.part[row], (int)row_nodes(f), scratch);
    sample_blended(scratch, node, right, level, count, out);
}
