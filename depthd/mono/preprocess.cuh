// Resizing and normalising one picture for a network, one output pixel at a time.
// Compiled by NVRTC for CUDA (depthd/mono/preprocess_cuda.py) and as C by the tests, which compare it with OpenCV.
#ifdef __CUDACC__
#define DEPTHD_INLINE __device__ static inline
#else
#include <math.h>
#define DEPTHD_INLINE static inline
#endif

// Value of a BGR picture, `row` and `column` clamped to it.
DEPTHD_INLINE float mono_sample(const unsigned char *bgr, long pitch, int height, int width, int row, int column, int channel) {
    row = row < 0 ? 0 : row >= height ? height - 1 : row;
    column = column < 0 ? 0 : column >= width ? width - 1 : column;
    return (float)bgr[row * pitch + 3 * column + channel];
}

// Mean over the source area that an output pixel covers, pixels at the rim by their covered share (OpenCV's INTER_AREA).
DEPTHD_INLINE float mono_area(const unsigned char *bgr, long pitch, int height, int width, int channel,
                              float top, float bottom, float left, float right) {
    float sum = 0.0f;
    for (int row = (int)floorf(top); row < bottom; row++) {
        float high = fminf(bottom, row + 1.0f) - fmaxf(top, (float)row);
        float line = 0.0f;
        for (int column = (int)floorf(left); column < right; column++) {
            float wide = fminf(right, column + 1.0f) - fmaxf(left, (float)column);
            line += wide * mono_sample(bgr, pitch, height, width, row, column, channel);
        }
        sum += high * line;
    }
    return sum / ((bottom - top) * (right - left));
}

// Weights of four neighbours at distance 1+t, t, 1-t, 2-t: Keys 1981 with a = -0.75, as OpenCV's INTER_CUBIC.
DEPTHD_INLINE void mono_cubic_weights(float t, float *weight) {
    const float a = -0.75f;
    float u = 1.0f + t, v = 1.0f - t;
    weight[0] = ((a * u - 5.0f * a) * u + 8.0f * a) * u - 4.0f * a;
    weight[1] = ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f;
    weight[2] = ((a + 2.0f) * v - (a + 3.0f)) * v * v + 1.0f;
    weight[3] = 1.0f - weight[0] - weight[1] - weight[2];
}

// taps = 4: cubic; taps = 2: linear.
DEPTHD_INLINE float mono_interpolated(const unsigned char *bgr, long pitch, int height, int width, int channel,
                                      float row, float column, int taps) {
    int first_row = (int)floorf(row), first_column = (int)floorf(column);
    float t = row - first_row, s = column - first_column;
    float rows[4] = {1.0f - t, t, 0.0f, 0.0f}, columns[4] = {1.0f - s, s, 0.0f, 0.0f};
    if (taps == 4) {
        mono_cubic_weights(t, rows);
        mono_cubic_weights(s, columns);
        first_row -= 1;
        first_column -= 1;
    }
    float sum = 0.0f;
    for (int i = 0; i < taps; i++) {
        float line = 0.0f;
        for (int j = 0; j < taps; j++)
            line += columns[j] * mono_sample(bgr, pitch, height, width, first_row + i, first_column + j, channel);
        sum += rows[i] * line;
    }
    return sum;
}

// One channel of one output pixel: resized, rounded to 8 bits as on the CPU, then value * gain + offset.
// taps = 0: area; 2: linear; 4: cubic. Pixel centres lie at half-integers.
DEPTHD_INLINE float mono_pixel(const unsigned char *bgr, long pitch, int height, int width, int out_height, int out_width,
                               int out_row, int out_column, int bgr_channel, int taps, float gain, float offset) {
    float down = (float)height / out_height, across = (float)width / out_width;
    float value;
    if (taps == 0)
        value = mono_area(bgr, pitch, height, width, bgr_channel, out_row * down, (out_row + 1) * down,
                          out_column * across, (out_column + 1) * across);
    else
        value = mono_interpolated(bgr, pitch, height, width, bgr_channel, (out_row + 0.5f) * down - 0.5f,
                                  (out_column + 0.5f) * across - 0.5f, taps);
    value = rintf(fminf(fmaxf(value, 0.0f), 255.0f));
    return value * gain + offset;
}

#ifdef __CUDACC__
// out: float32 (3, out_height, out_width), RGB. gain and offset: per RGB channel.
extern "C" __global__ void mono_preprocess(const unsigned char *bgr, long pitch, int height, int width, float *out,
                                           int out_height, int out_width, int taps, float gain_r, float gain_g,
                                           float gain_b, float offset_r, float offset_g, float offset_b) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= out_width || row >= out_height) return;
    const float gain[3] = {gain_r, gain_g, gain_b}, offset[3] = {offset_r, offset_g, offset_b};
    for (int rgb = 0; rgb < 3; rgb++)
        out[(rgb * out_height + row) * (long)out_width + column] =
            mono_pixel(bgr, pitch, height, width, out_height, out_width, row, column, 2 - rgb, taps, gain[rgb], offset[rgb]);
}
#endif
