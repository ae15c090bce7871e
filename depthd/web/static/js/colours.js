// Colours that colour-blind eyes tell apart: maps that rise evenly in brightness, and the palette of Okabe and Ito (2008).

import { SPECIAL_END, depthTable } from "./codec.js";

// Every fourth entry (every eighth of the last) of the maps of these names in matplotlib and ColorBrewer.
const MAPS = {
  "viridis":
    "44015446075a470d6047136548186a481d6f482374482878472d7b46327e453781443b844240864045883e49893d4e8a" +
    "3a538b38588c365c8d34608d32648e31688e2f6c8e2d708e2c738e2a778e297b8e277f8e26828e24868e238a8d218e8d" +
    "20928c1f968b1f9a8a1f9e891fa18721a58523a98326ad812ab07f2fb47c35b7793bbb7542be714ac16d52c5695ac864" +
    "65cb5e6ece5877d15381d34d8bd64695d840a0da39aadc32b5de2bc0df25cae11fd5e21adfe318eae51af4e61efde725",
  "cividis":
    "00224e00255400285b002b62002e6a0030700533711235701a386f213b6e273e6e2d416d32436d36466c3b496c3f4c6c" +
    "444f6c48526c4c556c50576c545a6d575d6d5b606e5e636f62656f656870696b716c6e727071737374757777767a7a78" +
    "7e7d788280798683798a86788e8978928c78958f779992779d9576a19975a59c74a99f73ada272b1a570b6a96fbaac6d" +
    "bfb06bc3b369c7b767ccba64d0be62d4c15fd9c55cddc858e1cc55e6d051ead34cefd748f3db42f8df3cfde334fee838",
  "magma":
    "00000402010903031206051a0a08220e0b2b130d34180f3d1d114722115029115a2f116336106b3d0f71440f764a1079" +
    "52137c59157e5f187f651a806b1d81721f817822817e24828426818b2981912b81982d809e2f7fa5317eab337cb2357b" +
    "ba3878c03a76c73d73cd4071d3436ed9466bdf4a68e44f64e95462ed5a5ff1605df4675cf66e5cf8765cfa7d5efb8560" +
    "fc8e64fd9668fe9d6cfea571feac76feb47bfebb81fec287feca8dfed194fed89afde0a1fde7a9fceeb0fcf6b8fcfdbf",
  "purple-orange":
    "2d004b380b5c44176f5023825d37906b4f9b7967a6887cb2988dbea79fcab6b0d4c2bedccecde4d9dbebe3e4efededf3" +
    "f6f6f7f9f0e4fbe9cffde2bbfed7a2fdca88fdbd6ef8ae55ef9e3ce68d23db7d12cd700ebe630ab05606a04d078f4407" +
    "7f3b08",
  grey: "000000ffffff",
};
export const MAP_NAMES = ["viridis", "cividis", "magma", "grey"];

export const SOURCES = ["invalid", "stereo", "mono_near", "mono_hole", "mono_overruled", "blend"];
export const SOURCE_COLOURS = [
  [0, 0, 0],
  [0, 114, 178],
  [213, 94, 0],
  [230, 159, 0],
  [204, 121, 167],
  [0, 158, 115],
];
export const HATCH = [pack(18, 18, 22), pack(92, 92, 98)];

export function pack(red, green, blue) {
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}

/** 256 colours of a map, as [red, green, blue], evenly interpolated. */
export function colourMap(name) {
  const hex = MAPS[name];
  const stops = [];
  for (let at = 0; at < hex.length; at += 6) {
    stops.push([0, 2, 4].map((channel) => parseInt(hex.slice(at + channel, at + channel + 2), 16)));
  }
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    return [0, 1, 2].map((c) => Math.round(stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c])));
  });
}

/** A range of values and its colours. kind: linear or log; reverse: small values are bright. */
export class Scale {
  constructor({ low, high, kind = "linear", map = "viridis", reverse = false }) {
    Object.assign(this, { low, high, kind, map, reverse });
    this.colours = colourMap(map).map(([r, g, b]) => pack(r, g, b));
    if (reverse) this.colours.reverse();
  }

  /** 0 at the low end, 1 at the high one; not clipped. */
  level(value) {
    if (this.kind === "log") return Math.log(value / this.low) / Math.log(this.high / this.low);
    return (value - this.low) / (this.high - this.low);
  }

  valueAt(level) {
    if (this.kind === "log") return this.low * (this.high / this.low) ** level;
    return this.low + level * (this.high - this.low);
  }

  colour(value) {
    const level = this.level(value);
    return this.colours[Math.round(255 * Math.min(Math.max(level, 0), 1))];
  }

  same(other) {
    return ["low", "high", "kind", "map", "reverse"].every((key) => this[key] === other?.[key]);
  }
}

const DEPTHS = depthTable();

/** The colour of every depth code under a scale. */
export function depthColours(scale) {
  const colours = new Uint32Array(65536);
  for (let code = SPECIAL_END; code < 65536; code++) colours[code] = scale.colour(DEPTHS[code]);
  return colours;
}
