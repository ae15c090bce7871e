/* 3. Fit: each step needs one look at all samples by every block, and one exchange. */
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

/* Sums about the weighted mean. */
struct Moments {
    double weight, x, rho, xx, x_rho, rho_rho;
};

__device__ __forceinline__ Moments centred(const double *sums)
{
    const double weight = sums[0], share = reciprocal(weight), x = sums[1] * share, rho = sums[2] * share;
    return {weight, x, rho, sums[3] - weight * x * x, sums[4] - weight * x * rho, sums[5] - weight * rho * rho};
}

__device__ __forceinline__ double pearson_r(const double *sums)
{
    const Moments m = centred(sums);
    return m.x_rho / sqrt(fmax(m.xx * m.rho_rho, 1e-60));
}

__device__ __forceinline__ Slope slope_of(const Line &line, const Shared *shared)
{
    return {(float)line.scale, (float)(line.scale * shared->x_origin + line.shift), (float)line.noise};
}

/* The weighted least squares line of sums about the origins. */
__device__ __forceinline__ void solve_line(Shared *shared, int mono_kind)
{
    const double *s = shared->sums, x0 = shared->x_origin, rho0 = shared->rho_origin;
    if (!(s[0] > 0.0)) return;
    if (mono_kind == DEPTHD_MONO_METRIC_DEPTH) {
        const double xx = s[3] + 2.0 * x0 * s[1] + s[0] * x0 * x0;
        const double x_rho = s[4] + x0 * s[2] + rho0 * s[1] + s[0] * x0 * rho0;
        shared->line.scale = x_rho * reciprocal(xx);
        shared->line.shift = 0.0;
        return;
    }
    const Moments m = centred(s);
    if (!(m.xx > 0.0)) return;
    const double scale = m.x_rho * reciprocal(m.xx);
    shared->line.scale = scale;
    shared->line.shift = rho0 + m.rho - scale * (x0 + m.x);
}

/* One step of iteratively reweighted least squares, and mono's noise about the new line. `rho` may differ from s.rho. */
__device__ __forceinline__ void fit_step(const Team &team, Shared *shared, const Settings *p, const Samples &s,
                                         const float (&rho)[ITEMS], int turn)
{
    const float end = shared->scene.end, rho_origin = (float)shared->rho_origin;
    Slope slope = shared->slope;
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
    }
    publish_sums<8>(team, shared, sums, 0);
    team.wait_for_all();
    if (threadIdx.x < 32) {
        collect_sums<8>(team, shared, 0);
        if (threadIdx.x == 0) {
            solve_line(shared, shared->mono_kind);
            shared->slope = slope_of(shared->line, shared);
        }
    } else {
        for (int i = threadIdx.x - 32; i < DEPTHD_ERROR_BINS; i += THREADS - 32)
            put(&team.mine->histogram[turn][i], 0u);
    }
    __syncthreads();
    slope = shared->slope;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        const Seen seen(slope, s.x[i], rho[i], shared);
        if (s.cell[i] >= 0 && seen.inside > 0.0f && seen.predicted < end)
            count_error(team, turn, depthd_error_place(seen.residual, depthd_unit(seen.predicted, shared->scene)), s.weight[i]);
    }
    publish_histogram(team, turn);
    team.wait_for_all();
    if (threadIdx.x < 32) {
        const double noise = median_noise(team, turn, shared->line.noise);
        __syncwarp(); /* all lanes have read the noise before */
        if (threadIdx.x == 0) {
            shared->line.noise = noise;
            shared->slope.noise = (float)noise;
        }
    }
    __syncthreads();
}

/* First half of what tells a good line from a bad one; the second comes after wait_for_all(). */
__device__ __forceinline__ void publish_judgement(const Team &team, Shared *shared, const Settings *p, const Samples &s,
                                                  const float (&rho)[ITEMS], int turn)
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
    publish_sums<16>(team, shared, sums, turn);
}

/* By one warp, to be followed by __syncthreads(). */
__device__ __forceinline__ void collect_judgement(const Team &team, Shared *shared, const Settings *p, int turn)
{
    collect_sums<16>(team, shared, turn);
    const double *s = shared->sums;
    if (threadIdx.x != 0 || !(s[0] > 0.0)) return;
    Line &line = shared->line;
    const double from_origin = shared->mono_kind == DEPTHD_MONO_METRIC_DEPTH ? -shared->x_origin : s[1] / s[0];
    const double about_pivot = s[10] - 2.0 * from_origin * s[9] + from_origin * from_origin * s[8];
    line.pivot = shared->mono_kind == DEPTHD_MONO_METRIC_DEPTH ? 0.0 : shared->x_origin + from_origin;
    line.inlier_share = s[6] > 0.0 ? s[7] / s[6] : 1.0;
    line.pearson_r = pearson_r(s);
    line.value_variance = 1.0 / (s[8] * p->independent_share);
    line.scale_variance = 1.0 / fmax(about_pivot * p->independent_share, 1e-30);
    line.significance = line.scale / sqrt(line.scale_variance);
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
    float plausible = 0.0f, real = 0.0f, chance = 0.0f;
    for (int i = threadIdx.x; i < shared->chosen_count; i += THREADS) {
        const Chosen s = chosen[i];
        const float2 paired = agreement_of(shared->slope, s.x, s.y, s.z, shared);
        plausible += paired.x;
        real += paired.y;
        chance += agreement_of(shared->slope, s.x, s.w, s.z, shared).y;
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
        plausible += __shfl_xor_sync(0xFFFFFFFFu, plausible, offset);
        real += __shfl_xor_sync(0xFFFFFFFFu, real, offset);
        chance += __shfl_xor_sync(0xFFFFFFFFu, chance, offset);
    }
    float *partial = shared->partial[threadIdx.x / 32];
    if (threadIdx.x % 32 == 0) partial[0] = plausible, partial[1] = real, partial[2] = chance;
    __syncthreads();
    double sums[3] = {0.0, 0.0, 0.0};
    for (int w = 0; w < WARPS; w++)
        for (int k = 0; k < 3; k++) sums[k] += shared->partial[w][k];
    __syncthreads();
    if (!(sums[0] > 0.0)) return 0.0;
    return (sums[1] - sums[2]) / fmax(sums[0] - sums[2], 1e-9 * sums[0]);
}
