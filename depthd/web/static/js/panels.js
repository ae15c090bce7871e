// Each panel paints one frame into one canvas of the frame's size, pixel for pixel.

import { SPECIAL_END, TOO_FAR, TOO_NEAR, depthTable, halfOfCode } from "./codec.js";
import { HATCH, SOURCE_COLOURS, Scale, depthColours, pack } from "./colours.js";

export const DEPTHS = depthTable();
export const SIGMAS = Float32Array.from({ length: 4096 }, (_, code) => halfOfCode(code));
const SOURCE_PACKED = Uint32Array.from(SOURCE_COLOURS, ([r, g, b]) => pack(r, g, b));

export const SIGMA_SCALE = new Scale({ low: 0.3, high: 30, kind: "log", map: "cividis" });
export const DIFFERENCE_SCALE = new Scale({ low: -20, high: 20, map: "purple-orange" });

/** name -> the parts it needs, the scale its colours stand for, and how it is painted. */
export const PANELS = {
  left: { parts: ["left"], scale: null, paint: paintLeft },
  stereo: { parts: ["stereo"], scale: "depth", paint: (frame, out, view) => paintDepth(frame.planes.stereo, out, view) },
  depth: { parts: ["depth"], scale: "depth", paint: (frame, out, view) => paintDepth(frame.planes.depth, out, view) },
  source: { parts: ["source"], scale: "source", paint: paintSource },
  sigma: { parts: ["sigma"], scale: "sigma", paint: paintSigma },
  difference: { parts: ["stereo", "depth", "mono"], scale: "difference", paint: paintDifference },
};
export const PANEL_NAMES = Object.keys(PANELS);

let lastScale = null;
let lastColours = null;

function coloursOf(scale) {
  if (!scale.same(lastScale)) {
    lastScale = scale;
    lastColours = depthColours(scale);
  }
  return lastColours;
}

/** Paints the panel; a part that is not there leaves hatching. */
export function paint(name, frame, canvas, view) {
  const { width, height } = frame.header;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    canvas.image = null;
  }
  const context = canvas.getContext("2d", { alpha: false });
  if (name === "left") {
    paintLeft(frame, context);
    return;
  }
  canvas.image ??= new ImageData(width, height);
  const pixels = new Uint32Array(canvas.image.data.buffer);
  PANELS[name].paint(frame, { pixels, width, height }, view);
  context.putImageData(canvas.image, 0, 0);
}

function paintLeft(frame, context) {
  const bitmap = frame.planes.left?.bitmap;
  if (bitmap) context.drawImage(bitmap, 0, 0);
  else context.clearRect(0, 0, frame.header.width, frame.header.height);
}

function hatch(out) {
  for (let i = 0; i < out.pixels.length; i++) out.pixels[i] = hatchAt(i, out.width);
}

function hatchAt(i, width) {
  return HATCH[((i % width) + ((i / width) | 0)) % 12 < 2 ? 1 : 0];
}

function paintDepth(plane, out, view) {
  if (!plane) return hatch(out);
  const colours = coloursOf(view.depthScale);
  const { codes } = plane;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    out.pixels[i] = code < SPECIAL_END ? hatchAt(i, out.width) : colours[code];
  }
}

function paintSource({ planes }, out) {
  if (!planes.source) return hatch(out);
  const { codes } = planes.source;
  for (let i = 0; i < codes.length; i++) out.pixels[i] = SOURCE_PACKED[codes[i]] ?? HATCH[1];
}

const SIGMA_COLOURS = Uint32Array.from(SIGMAS, (sigma) => SIGMA_SCALE.colour(100 * Math.max(sigma, 1e-6)));

function paintSigma({ planes }, out) {
  if (!planes.sigma) return hatch(out);
  const { codes } = planes.sigma;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    out.pixels[i] = SIGMAS[code] >= 0 ? SIGMA_COLOURS[code] : hatchAt(i, out.width);
  }
}

/** What difference compares stereo with: fitted mono where it is published, else the fused depth. */
export function differenceAt(frame, x, y) {
  const { stereo, mono, depth } = frame.planes;
  if (!stereo) return NaN;
  const i = y * frame.header.width + x;
  const other = mono ?? depth;
  if (!other) return NaN;
  const j =
    other === mono
      ? Math.floor(((y + 0.5) * mono.height) / frame.header.height) * mono.width +
        Math.floor(((x + 0.5) * mono.width) / frame.header.width)
      : i;
  const a = DEPTHS[stereo.codes[i]];
  const b = DEPTHS[other.codes[j]];
  // Relative in inverse depth, as the residual of the fit: > 0 where mono says nearer.
  return Number.isFinite(a) && Number.isFinite(b) ? 100 * (a / b - 1) : NaN;
}

const DIFFERENCE_COLOURS = Uint32Array.from({ length: 512 }, (_, i) => DIFFERENCE_SCALE.colour((i - 256) / 8));

function paintDifference(frame, out) {
  const { stereo, mono, depth } = frame.planes;
  const other = mono ?? depth;
  if (!stereo || !other) return hatch(out);
  const columns = Int32Array.from({ length: out.width }, (_, x) => Math.floor(((x + 0.5) * other.width) / out.width));
  for (let y = 0, i = 0; y < out.height; y++) {
    const row = Math.floor(((y + 0.5) * other.height) / out.height) * other.width;
    for (let x = 0; x < out.width; x++, i++) {
      const a = stereo.codes[i];
      const b = other.codes[row + columns[x]];
      if (a < SPECIAL_END || b < SPECIAL_END) {
        out.pixels[i] = hatchAt(i, out.width);
        continue;
      }
      const percent = 100 * (DEPTHS[a] / DEPTHS[b] - 1);
      out.pixels[i] = DIFFERENCE_COLOURS[Math.max(0, Math.min(511, Math.round(percent * 8) + 256))];
    }
  }
}

/** Everything known about one pixel. */
export function valueAt(frame, x, y) {
  const { header, planes } = frame;
  const i = y * header.width + x;
  const depth = planes.depth ? DEPTHS[planes.depth.codes[i]] : NaN;
  const { fx, fy, cx, cy } = header.camera;
  const stereoCode = planes.stereo?.codes[i];
  return {
    x,
    y,
    depth,
    source: planes.source ? planes.source.codes[i] : null,
    sigma: planes.sigma ? SIGMAS[planes.sigma.codes[i]] : NaN,
    stereo: stereoCode === undefined ? NaN : DEPTHS[stereoCode],
    stereoHole: stereoCode === TOO_NEAR ? "near" : stereoCode === TOO_FAR ? "far" : "unmatched",
    difference: differenceAt(frame, x, y),
    point: [((x - cx) / fx) * depth, ((y - cy) / fy) * depth, depth],
  };
}

/** The depths that 2 % and 98 % of the known pixels stay below, from about 20,000 of them. */
export function depthRange(codes) {
  const step = Math.max(1, Math.floor(codes.length / 20000)) | 1;
  const known = [];
  for (let i = 0; i < codes.length; i += step) if (codes[i] >= SPECIAL_END) known.push(codes[i]);
  if (known.length < 10) return null;
  known.sort((a, b) => a - b);
  const at = (share) => DEPTHS[known[Math.floor(share * (known.length - 1))]];
  return [at(0.02), at(0.98)];
}
