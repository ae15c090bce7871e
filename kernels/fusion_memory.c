/* 4. Memory: binned inliers of earlier frames. */
#include "fusion_internal.h"

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

typedef struct Remembering {
    DepthdFusion *f;
    const DepthdLine *line;
} Remembering;

/* Weight of a sample that the biweight leaves. */
static double inlier_weight(double x, double rho, double weight, const Remembering *job)
{
    const DepthdScene scene = job->f->scene;
    const double predicted = depthd_line_at(job->line, x);
    const double precision = 1.0 / depthd_variance(predicted, job->line->noise, scene);
    const double inside = depthd_inside(rho - predicted, precision, DEPTHD_TUKEY_FIT);
    return predicted < scene.end && inside > 0 ? weight * inside * inside : 0.0;
}

static void collect(void *context, int number, int worker)
{
    (void)worker;
    const Remembering *job = context;
    const DepthdFusionParameters *p = &job->f->p;
    const Samples *s = &job->f->own;
    Part *part = &job->f->parts[number];
    memset(part->memory, 0, sizeof part->memory);
    for (int i = part->first; i < part->first + part->count; i++) {
        const double inlier = inlier_weight(s->x[i], s->rho[i], s->weight[i], job);
        const float level = depthd_level((float)s->rho[i], (float)p->inverse_minimum, (float)p->inverse_maximum);
        const int bin = depthd_smaller((int)(level * DEPTHD_MEMORY_BINS), DEPTHD_MEMORY_BINS - 1);
        part->memory[0][bin] += inlier;
        part->memory[1][bin] += inlier * s->x[i];
        part->memory[2][bin] += inlier * s->rho[i];
    }
}

/* Ages the memory and adds this frame's inliers. */
void depthd_remember(DepthdFusion *f, const DepthdLine *line)
{
    Remembering job = {f, line};
    depthd_team_share(f->team, DEPTHD_PARTS, collect, &job);
    for (int k = 0; k < 3; k++) {
        for (int b = 0; b < DEPTHD_MEMORY_BINS; b++) {
            double sum = 0.0;
            for (int n = 0; n < DEPTHD_PARTS; n++) sum += f->parts[n].memory[k][b];
            f->memory.samples[k][b] = f->p.memory_decay * f->memory.samples[k][b] + sum;
        }
    }
}

void depthd_forget_scene(Memory *memory, int node_count)
{
    memset(memory->samples, 0, sizeof memory->samples);
    memset(memory->evidence, 0, sizeof(Node) * (size_t)node_count);
    memory->has_predicted = false;
}
