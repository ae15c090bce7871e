/* 0. Mono without the network's flicker, and so turned that inverse depth is linear in it. */
#pragma once

/* `x` holds the same of the frame before, NaN where there was none. */
extern "C" __global__ void __launch_bounds__(256) fusion_steady(
    const float *__restrict__ mono, float *__restrict__ x, int count, const Settings *__restrict__ p, const State *state)
{
    let_next_begin();
    enum { AT_ONCE = 4 };
    const int first = blockIdx.x * AT_ONCE * 256 + threadIdx.x, kind = p->mono_kind;
    float now[AT_ONCE], before[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
        const int i = first + 256 * k;
        now[k] = i < count ? mono[i] : 0.0f;
        before[k] = i < count ? x[i] : 0.0f;
    }
    const float scale = (float)state->aligned.scale, shift = (float)state->aligned.shift;
    const float lowest = (float)p->inverse_minimum, softening = (float)state->softening;
    const float decay = (float)p->mono_decay;
    const bool has_line = state->has_line;
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
        const float linear = depthd_mono_as_linear(now[k], kind);
        const float unit = fmaxf(scale * linear + shift, lowest) + softening;
        const int i = first + 256 * k;
        if (i < count) x[i] = has_line ? depthd_steady(linear, before[k], unit / scale, decay) : linear;
    }
}
