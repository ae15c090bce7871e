#include "codec.h"

#include <math.h>
#include <string.h>

/* A depth's code is the middle of its float32: 4 bits of exponent and 12 of mantissa, rounded. So codes are even in the
   logarithm of depth, one step is at most 1/4096 of the depth, and a browser decodes by shifting back. */
#define DROPPED_BITS 11
/* 2^-6 m (16 mm) has code CODE_FIRST; the last code is beyond 480 m. */
#define FIRST_BITS ((uint32_t)(127 - 6) << 23)

uint16_t codec_code_of_depth(float depth_m) {
    uint32_t bits;
    if (isnan(depth_m)) return CODE_UNKNOWN;
    if (isinf(depth_m)) return depth_m < 0 ? CODE_TOO_NEAR : CODE_TOO_FAR;
    memcpy(&bits, &depth_m, sizeof bits);
    if (bits >> 31 || bits < FIRST_BITS) return depth_m > 0 ? CODE_TOO_NEAR : CODE_UNKNOWN;
    uint32_t code = ((bits - FIRST_BITS + (1u << (DROPPED_BITS - 1))) >> DROPPED_BITS) + CODE_FIRST;
    /* The largest number stays free: a plane that is sent beside depth counts from 1 (depthd/web/encode.py). */
    return code >= UINT16_MAX ? CODE_TOO_FAR : (uint16_t)code;
}

float codec_depth_of_code(uint16_t code) {
    if (code == CODE_TOO_NEAR) return -INFINITY;
    if (code == CODE_TOO_FAR) return INFINITY;
    if (code < CODE_FIRST) return NAN;
    uint32_t bits = FIRST_BITS + ((uint32_t)(code - CODE_FIRST) << DROPPED_BITS);
    float depth_m;
    memcpy(&depth_m, &bits, sizeof depth_m);
    return depth_m;
}

void codec_depth_codes(const void *plane, size_t row_bytes, size_t width, size_t height, uint16_t *codes) {
    for (size_t y = 0; y < height; y++) {
        const float *row = (const float *)((const char *)plane + y * row_bytes);
        for (size_t x = 0; x < width; x++) *codes++ = codec_code_of_depth(row[x]);
    }
}

/* Packing after A. D. Wilson, "Fast Lossless Depth Image Compression" (RVL), ISS 2017, with one change: what is packed is
   the difference of each code to the one before it, so that every constant stretch, and not only one of zeros, is a run.

   A stream of nibbles, high nibble first: count of zero differences, count of others, the others, and again. A number is
   written from its lowest three bits on; a nibble's highest bit says that more follow. Differences are modulo 2^16 and
   folded so that small ones of either sign are small numbers. */

struct nibbles {
    uint8_t *at;
    unsigned half;
};

static inline void put(struct nibbles *out, uint32_t value) {
    do {
        unsigned nibble = value & 7;
        value >>= 3;
        if (value) nibble |= 8;
        if (out->half)
            *out->at++ |= (uint8_t)nibble;
        else
            *out->at = (uint8_t)(nibble << 4);
        out->half ^= 1;
    } while (value);
}

static inline uint32_t folded(uint16_t code, uint16_t before) {
    int16_t difference = (int16_t)(uint16_t)(code - before);
    return (uint16_t)((uint16_t)difference << 1) ^ (uint16_t)(difference >> 15);
}

size_t codec_packed_bound(size_t count) {
    /* A difference takes at most 6 nibbles; two counts of at most 11 for every run; runs alternate. */
    return 3 * count + 2 * count + 16;
}

size_t codec_pack(const uint16_t *codes, size_t count, uint8_t *packed) {
    struct nibbles out = {packed, 0};
    uint16_t before = 0;
    size_t at = 0;
    while (at < count) {
        size_t begin = at;
        while (at < count && codes[at] == before) at++;
        put(&out, (uint32_t)(at - begin));
        begin = at;
        for (uint16_t last = before; at < count && codes[at] != last; at++) last = codes[at];
        put(&out, (uint32_t)(at - begin));
        for (size_t i = begin; i < at; i++) {
            put(&out, folded(codes[i], before));
            before = codes[i];
        }
    }
    return (size_t)(out.at - packed) + out.half;
}

struct reading {
    const uint8_t *at, *end;
    unsigned half;
};

/* False at the end of the bytes, and for a number that no packing writes. */
static inline int take(struct reading *in, uint32_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 32; shift += 3) {
        if (in->at == in->end) return 0;
        unsigned nibble = in->half ? *in->at++ & 15 : *in->at >> 4;
        in->half ^= 1;
        *value |= (uint32_t)(nibble & 7) << shift;
        if (!(nibble & 8)) return 1;
    }
    return 0;
}

size_t codec_unpack(const uint8_t *packed, size_t bytes, uint16_t *codes, size_t count) {
    struct reading in = {packed, packed + bytes, 0};
    uint16_t before = 0;
    size_t at = 0;
    while (at < count) {
        uint32_t zeros, others, value;
        if (!take(&in, &zeros) || zeros > count - at) return 0;
        for (uint32_t i = 0; i < zeros; i++) codes[at++] = before;
        if (!take(&in, &others) || others > count - at || zeros + others == 0) return 0;
        for (uint32_t i = 0; i < others; i++) {
            if (!take(&in, &value) || value > UINT16_MAX) return 0;
            before = (uint16_t)(before + ((value >> 1) ^ (0u - (value & 1))));
            codes[at++] = before;
        }
    }
    return (size_t)(in.at - packed) + in.half;
}
