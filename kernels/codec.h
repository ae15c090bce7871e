/* Planes on the way to a browser: float planes become 16-bit codes, codes become few bytes. See codec.c. */
#ifndef DEPTHD_CODEC_H
#define DEPTHD_CODEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CODE_UNKNOWN = 0,  /* NaN */
    CODE_TOO_NEAR = 1, /* -inf */
    CODE_TOO_FAR = 2,  /* +inf */
    CODE_FIRST = 16    /* the nearest depth that has a code */
};

uint16_t codec_code_of_depth(float depth_m);
float codec_depth_of_code(uint16_t code);

/* Codes of a plane of depth; `row_bytes` is the distance of two rows. */
void codec_depth_codes(const void *plane, size_t row_bytes, size_t width, size_t height, uint16_t *codes);

/* The most bytes that `count` codes can need. */
size_t codec_packed_bound(size_t count);
/* Both return the bytes written or read; unpack returns 0 where the bytes do not hold exactly `count` codes. */
size_t codec_pack(const uint16_t *codes, size_t count, uint8_t *packed);
size_t codec_unpack(const uint8_t *packed, size_t bytes, uint16_t *codes, size_t count);

#ifdef __cplusplus
}
#endif
#endif
