/* Points from depth, for readers that want them; the very operations of depthd_points_from_depth in kernels/shm.c. */
#pragma once

extern "C" __global__ void __launch_bounds__(256) fusion_points(const float *__restrict__ depth_m, float *__restrict__ xyz,
                                                                float per_fx, float per_fy, float cx, float cy)
{
    __shared__ float points[3 * 256];
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i < WIDTH * HEIGHT) {
        const int y = i / WIDTH, x = i - y * WIDTH;
        const float depth = depth_m[i], z = isfinite(depth) ? depth : NAN;
        points[3 * threadIdx.x] = __fmul_rn(__fmul_rn((float)x - cx, per_fx), z);
        points[3 * threadIdx.x + 1] = __fmul_rn(__fmul_rn((float)y - cy, per_fy), z);
        points[3 * threadIdx.x + 2] = z;
    }
    __syncthreads();
    /* Stored in the order of the addresses: three floats a thread would touch each line three times. */
    const int first = blockIdx.x * 256 * 3;
    for (int k = threadIdx.x; k < 3 * 256 && first + k < 3 * WIDTH * HEIGHT; k += 256) xyz[first + k] = points[k];
}
