// Each panel paints one frame into one canvas of the frame's size, pixel for pixel.

import { SPECIAL_END, TOO_FAR, TOO_NEAR, depthTable, halfOfCode } from "./codec.js";
import { HATCH, SOURCE_COLOURS, Scale, depthColours, pack } from "./colours.js";

export const DEPTHS = depthTable();
export const SIGMAS = Float32Array.from({ length: 4096 }, (_, code) => halfOfCode(code));
const SOURCE_PACKED = Uint32Array.from(SOURCE_COLOURS, ([r, g, b]) => pack(r, g, b));

export const SIGMA_SCALE = new Scale({ low: 0.3, high: 30, kind: "log", map: "cividis" });
export const DIFFERENCE_SCALE = new Scale({ low: -20, high: 20, map: "purple-orange" });

/** name -> the parts it needs, the scale its colours stand for, and what colours a rectangle of its pixels. */
export const PANELS = {
  left: { parts: ["left"], scale: null },
  stereo: { parts: ["stereo"], scale: "depth", colour: (frame, out, view) => colourDepth(frame.planes.stereo, out, view) },
  depth: { parts: ["depth"], scale: "depth", colour: (frame, out, view) => colourDepth(frame.planes.depth, out, view) },
  source: { parts: ["source"], scale: "source", colour: colourSource },
  sigma: { parts: ["sigma"], scale: "sigma", colour: colourSigma },
  difference: { parts: ["stereo", "depth", "mono"], scale: "difference", colour: colourDifference },
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

/** Makes the canvas as large as the frame; true where it was not. */
export function fit(canvas, { width, height }) {
  if (canvas.width === width && canvas.height === height) return false;
  Object.assign(canvas, { width, height, image: null });
  return true;
}

/** Paints the columns from <= x < to of a panel; a part that is not there leaves hatching. Hidden columns cost nothing. */
export function paint(name, frame, canvas, view, from = 0, to = frame.header.width) {
  if (from >= to) return;
  fit(canvas, frame.header);
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { alpha: false });
  const bitmap = frame.planes.left?.bitmap;
  if (name === "left" && bitmap) {
    context.drawImage(bitmap, from, 0, to - from, height, from, 0, to - from, height);
    return;
  }
  canvas.image ??= new ImageData(width, height);
  const out = { pixels: new Uint32Array(canvas.image.data.buffer), width, height, from, to };
  const missing = !PANELS[name].colour || !PANELS[name].colour(frame, out, view);
  if (missing) hatch(out);
  context.putImageData(canvas.image, 0, 0, from, 0, to - from, height);
}

const HATCH_PERIOD = 12;
let hatching = new Uint32Array(0);

/** A row of hatching; that of row y begins at y % HATCH_PERIOD. */
function hatchRow(width) {
  if (hatching.length !== width + HATCH_PERIOD) {
    hatching = Uint32Array.from({ length: width + HATCH_PERIOD }, (_, x) => HATCH[x % HATCH_PERIOD < 2 ? 1 : 0]);
  }
  return hatching;
}

function hatch({ pixels, width, height, from, to }) {
  const row = hatchRow(width);
  for (let y = 0; y < height; y++) {
    const phase = y % HATCH_PERIOD;
    pixels.set(row.subarray(phase + from, phase + to), y * width + from);
  }
}

/** Each code's colour by a table; colour 0 in the table stands for hatching. */
function colourCodes(codes, table, { pixels, width, height, from, to }) {
  const row = hatchRow(width);
  for (let y = 0; y < height; y++) {
    const phase = y % HATCH_PERIOD;
    for (let x = from, i = y * width + from; x < to; x++, i++) {
      const colour = table[codes[i]];
      pixels[i] = colour === 0 ? row[x + phase] : colour;
    }
  }
  return true;
}

function colourDepth(plane, out, view) {
  return plane && colourCodes(plane.codes, coloursOf(view.depthScale), out);
}

const SOURCE_TABLE = new Uint32Array(65536).fill(HATCH[1]);
SOURCE_TABLE.set(SOURCE_PACKED);

function colourSource({ planes }, out) {
  return planes.source && colourCodes(planes.source.codes, SOURCE_TABLE, out);
}

const SIGMA_COLOURS = Uint32Array.from(SIGMAS, (sigma) => (sigma >= 0 ? SIGMA_SCALE.colour(100 * Math.max(sigma, 1e-6)) : 0));

function colourSigma({ planes }, out) {
  return planes.sigma && colourCodes(planes.sigma.codes, SIGMA_COLOURS, out);
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

function colourDifference(frame, out) {
  const { stereo, mono, depth } = frame.planes;
  const other = mono ?? depth;
  if (!stereo || !other) return false;
  const hatched = hatchRow(out.width);
  const columns = Int32Array.from({ length: out.width }, (_, x) => Math.floor(((x + 0.5) * other.width) / out.width));
  for (let y = 0; y < out.height; y++) {
    const row = Math.floor(((y + 0.5) * other.height) / out.height) * other.width;
    const phase = y % HATCH_PERIOD;
    for (let x = out.from, i = y * out.width + out.from; x < out.to; x++, i++) {
      const a = stereo.codes[i];
      const b = other.codes[row + columns[x]];
      if (a < SPECIAL_END || b < SPECIAL_END) {
        out.pixels[i] = hatched[x + phase];
        continue;
      }
      const percent = 100 * (DEPTHS[a] / DEPTHS[b] - 1);
      out.pixels[i] = DIFFERENCE_COLOURS[Math.max(0, Math.min(511, Math.round(percent * 8) + 256))];
    }
  }
  return true;
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

/** The depths that 2 % and 98 % of the known pixels stay below, from about 10,000 of them. */
export function depthRange(codes) {
  const step = Math.max(1, Math.floor(codes.length / 10000)) | 1;
  const known = new Uint16Array(Math.ceil(codes.length / step));
  let count = 0;
  for (let i = 0; i < codes.length; i += step) if (codes[i] >= SPECIAL_END) known[count++] = codes[i];
  if (count < 10) return null;
  const sorted = known.subarray(0, count).sort();
  const at = (share) => DEPTHS[sorted[Math.floor(share * (count - 1))]];
  return [at(0.02), at(0.98)];
}
