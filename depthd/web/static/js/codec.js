// Unpacks what kernels/codec.c packs; see there for the format.

const FIRST = 16;
const DROPPED_BITS = 11;
const FIRST_BITS = (127 - 6) << 23;
export const SPECIAL_END = FIRST;
export const TOO_NEAR = 1;
export const TOO_FAR = 2;

/** Depth in metres of every 16-bit code: NaN unknown, -Infinity too near, Infinity too far. */
export function depthTable() {
  const bits = new Uint32Array(65536);
  for (let code = FIRST; code < 65536; code++) bits[code] = FIRST_BITS + ((code - FIRST) << DROPPED_BITS);
  const table = new Float32Array(bits.buffer);
  table.fill(NaN, 0, FIRST);
  table[TOO_NEAR] = -Infinity;
  table[TOO_FAR] = Infinity;
  return table;
}

/** The code nearest to a depth in metres, for the ends of a colour scale. */
export function codeOfDepth(depth) {
  const one = new Float32Array([Math.min(Math.max(depth, 2 ** -6), 400)]);
  const bits = new Uint32Array(one.buffer)[0];
  return ((bits - FIRST_BITS + (1 << (DROPPED_BITS - 1))) >>> DROPPED_BITS) + FIRST;
}

/** float32 of a float16 whose last 4 bits were dropped. */
export function halfOfCode(code) {
  const half = code << 4;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return mantissa ? NaN : Infinity;
  return exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : mantissa * 2 ** -24;
}

/** Packed bytes -> `count` codes. Throws where they do not hold that many. */
export function unpack(bytes, count) {
  const codes = new Uint16Array(count);
  const end = bytes.length * 2;
  let nibble = 0;
  let before = 0;
  let at = 0;
  function takeCount() {
    let value = 0;
    for (let shift = 0; shift < 32; shift += 3) {
      if (nibble >= end) throw new Error("packed plane ends early");
      const bits = (bytes[nibble >> 1] >> ((~nibble & 1) << 2)) & 15;
      nibble++;
      value |= (bits & 7) << shift;
      if (bits < 8) {
        if (value < 0 || value > count - at) break;
        return value;
      }
    }
    throw new Error("packed plane is damaged");
  }
  while (at < count) {
    const zeros = takeCount();
    if (zeros) {
      if (before) codes.fill(before, at, at + zeros);
      at += zeros;
    }
    const others = takeCount();
    if ((zeros | others) === 0) throw new Error("packed plane is damaged");
    // Written out, not through a function: this runs a million times for each plane.
    for (const stop = at + others; at < stop; at++) {
      let value = 0;
      let shift = 0;
      let bits;
      do {
        bits = (bytes[nibble >> 1] >> ((~nibble & 1) << 2)) & 15;
        nibble++;
        value |= (bits & 7) << shift;
        shift += 3;
      } while (bits & 8 && shift < 18);
      // Past the end, bytes read as 0; six nibbles hold every difference.
      if (bits & 8) throw new Error("packed plane is damaged");
      before = (before + ((value >>> 1) ^ -(value & 1))) & 65535;
      codes[at] = before;
    }
    if (nibble > end) throw new Error("packed plane ends early");
  }
  return codes;
}
