/* 3. Fit: each step looks at all samples once, for the sums and for the errors, and tells the other blocks once. */
#pragma once

/* A sample as a line sees it. */
struct Seen {
    float predicted, residual, precision, inside;

    __device__ __forceinline__ Seen(const Slope &s, float x, float rho, const Shared *shared)
    {
        predicted = s.at(x);
        residual = rho - predicted;
        precision = DEPTHD_QUOTIENT(1.0f, depthd_variance(predicted, s.noise, shared->scene));
        inside = depthd_inside(residual, precision, DEPTHD_TUKEY_FIT);
    }
    __device__ __forceinline__ float robust() const { return inside > 0.0f ? inside * inside : 0.0f; }
};

__device__ __forceinline__ Slope slope_of(const Line &line, const Shared *shared)
{
    return {(float)line.scale, (float)(line.scale * shared->x_origin + line.shift), (float)line.noise};
}

/* By one warp: the weighted least squares line of sums about the origins, one in each lane. */
__device__ __forceinline__ void solve_line(Shared *shared, double sum)
{
    double s[5];
#pragma unroll
    for (int k = 0; k < 5; k++) s[k] = __shfl_sync(0xFFFFFFFFu, sum, k);
    const double x0 = shared->x_origin, rho0 = shared->rho_origin;
    const bool metric = shared->mono_kind == DEPTHD_MONO_METRIC_DEPTH;
    const double share = reciprocal(s[0]), x = s[1] * share, rho = s[2] * share;
    const double xx = metric ? s[3] + 2.0 * x0 * s[1] + s[0] * x0 * x0 : s[3] - s[1] * x;
    const double x_rho = metric ? s[4] + x0 * s[2] + rho0 * s[1] + s[0] * x0 * rho0 : s[4] - s[1] * rho;
    if (threadIdx.x % 32 != 0 || !(s[0] > 0.0) || !(metric || xx > 0.0)) return;
    const double scale = x_rho * reciprocal(xx), value = metric ? scale * x0 : rho0 + rho - scale * x;
    shared->line.scale = scale;
    shared->line.shift = metric ? 0.0 : value - scale * x0;
    shared->slope.scale = (float)scale;
    shared->slope.value = (float)value;
}

/* One step of iteratively reweighted least squares, and mono's noise about the line that it began with. `rho` may differ from
 * s.rho. The first warp solves for the line, the second for the noise. */
__device__ __forceinline__ void fit_step(Team &team, Shared *shared, const Samples &s, const float (&rho)[ITEMS])
{
    const float end = shared->scene.end, rho_origin = (float)shared->rho_origin;
    const Slope slope = shared->slope;
    uint32_t *histogram = shared->histogram[team.step & 1], *next = shared->histogram[++team.step & 1];
    for (int i = threadIdx.x; i < KEPT_BINS; i += THREADS) next[i] = 0;
    float sums[8] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const Seen seen(slope, s.x[i], rho[i], shared);
        const float w = seen.predicted < end ? s.weight[i] * seen.robust() * seen.precision : 0.0f;
        const float above = rho[i] - rho_origin, wx = w * s.x[i];
        sums[0] += w;
        sums[1] += wx;
        sums[2] += w * above;
        sums[3] += wx * s.x[i];
        sums[4] += wx * above;
        const bool kept = s.cell[i] >= 0 && seen.inside > 0.0f && seen.predicted < end;
        count_error(histogram, depthd_error_place(seen.residual, depthd_unit(seen.predicted, shared->scene)),
                    kept ? s.weight[i] : 0.0f);
    }
    send_sums<8>(team, shared, sums, 4 * HISTOGRAM_QUADS); /* which waits for all warps of this block */
    send_histogram(team, histogram);
    team.sent(16 * HISTOGRAM_QUADS + 4 * 8);
    if (threadIdx.x < 32) {
        solve_line(shared, collect_sums<8>(team, 4 * HISTOGRAM_QUADS));
    } else if (threadIdx.x < 64) {
        const float noise = collect_noise(team, slope.noise);
        if (threadIdx.x == 32) {
            shared->line.noise = noise;
            shared->slope.noise = noise;
        }
    }
    __syncthreads();
    team.turn++;
}

/* What tells a good line from a bad one. */
__device__ __forceinline__ void judge(Team &team, Shared *shared, const Settings *p, const Samples &s, const float (&rho)[ITEMS])
{
    const float end = shared->scene.end, rho_origin = (float)shared->rho_origin;
    const Slope slope = shared->slope;
    float sums[16] = {0.0f};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const Seen seen(slope, s.x[i], rho[i], shared);
        const float plausible = s.cell[i] >= 0 && seen.predicted < end ? s.weight[i] : 0.0f;
        const float inlier = plausible * seen.robust(), information = inlier * seen.precision;
        const float x = s.x[i], above = rho[i] - rho_origin;
        sums[0] += inlier;
        sums[1] += inlier * x;
        sums[2] += inlier * above;
        sums[3] += inlier * x * x;
        sums[4] += inlier * x * above;
        sums[5] += inlier * above * above;
        sums[6] += plausible;
        sums[7] += seen.inside > 0.0f ? plausible : 0.0f;
        sums[8] += information;
        sums[9] += information * x;
        sums[10] += information * x * x;
    }
    send_sums<16>(team, shared, sums);
    team.sent(4 * 16);
    if (threadIdx.x < 32) {
        const double sum = collect_sums<16>(team);
        if (threadIdx.x < SUMS) shared->sums[threadIdx.x] = sum;
        __syncwarp();
        const double *a = shared->sums;
        if (threadIdx.x == 0 && a[0] > 0.0) {
            Line &line = shared->line;
            const bool metric = shared->mono_kind == DEPTHD_MONO_METRIC_DEPTH;
            const double share = reciprocal(a[0]), x = a[1] * share, rho_mean = a[2] * share;
            const double xx = a[3] - a[1] * x, x_rho = a[4] - a[1] * rho_mean, rho_rho = a[5] - a[2] * rho_mean;
            const double from_origin = metric ? -shared->x_origin : x;
            const double about_pivot = fmax(
                (a[10] - 2.0 * from_origin * a[9] + from_origin * from_origin * a[8]) * p->independent_share, 1e-30);
            line.pivot = metric ? 0.0 : shared->x_origin + from_origin;
            line.inlier_share = a[6] > 0.0 ? a[7] * reciprocal(a[6]) : 1.0;
            line.pearson_r = x_rho * inverse_root(fmax(xx, 1e-30)) * inverse_root(fmax(rho_rho, 1e-30));
            line.value_variance = reciprocal(a[8] * p->independent_share);
            line.scale_variance = reciprocal(about_pivot);
            line.significance = line.scale * about_pivot * inverse_root(about_pivot);
        }
    }
    __syncthreads();
    team.turn++;
}

__device__ __forceinline__ bool is_acceptable(const Line &line, double agreement, const Settings *p)
{
    return line.scale > 0.0 && line.scale < 1e300 && line.inlier_share >= p->minimum_inlier_share &&
           agreement >= p->minimum_agreement && line.significance >= p->minimum_significance;
}

/* How many of the samples that could lie on the line do: plausible weight and agreeing weight of one sample. */
__device__ __forceinline__ float2 agreement_of(const Slope &slope, float x, float rho, float weight, const Shared *shared)
{
    const Seen seen(slope, x, rho, shared);
    const float plausible = seen.predicted < shared->scene.end ? weight : 0.0f;
    return make_float2(plausible, seen.inside > 0.0f ? plausible : 0.0f);
}

/* Cohen's kappa of the chosen samples, in every thread: how many more lie on the line than by chance. Every block finds the
 * same, since each looks at all of them. */
__device__ __forceinline__ double agreement_beyond_chance(Shared *shared, const Chosen *chosen)
{
    float sums[4] = {0.0f};
#pragma unroll 2
    for (int i = threadIdx.x; i < shared->chosen_count; i += THREADS) {
        const Chosen s = chosen[i];
        const float2 paired = agreement_of(shared->slope, s.x, s.y, s.z, shared);
        sums[0] += paired.x;
        sums[1] += paired.y;
        sums[2] += agreement_of(shared->slope, s.x, s.w, s.z, shared).y;
    }
    const float all = add_over_block<4>(shared, sums);
    const float plausible = __shfl_sync(0xFFFFFFFFu, all, 0), real = __shfl_sync(0xFFFFFFFFu, all, 1);
    const float chance = __shfl_sync(0xFFFFFFFFu, all, 2);
    __syncthreads();
    if (!(plausible > 0.0f)) return 0.0;
    return ((double)real - chance) * reciprocal(fmax((double)plausible - chance, 1e-9 * plausible));
}
