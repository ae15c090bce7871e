// The bars below the pictures: what the colours mean, in metres and per cent.

import { SOURCES, SOURCE_COLOURS } from "./colours.js";
import { DIFFERENCE_SCALE, PANELS, SIGMA_SCALE } from "./panels.js";
import { t } from "./i18n.js";

const TICKS = 6;

/** Shows one bar for each kind of colours that the visible panels use. */
export function showScales(holder, panels, view, hasMono) {
  const kinds = [...new Set(panels.map((name) => PANELS[name].scale).filter(Boolean))];
  const key = JSON.stringify([kinds, view.depthScale.low, view.depthScale.high, view.depthScale.kind, view.depthScale.map, document.documentElement.lang, hasMono]);
  if (holder.dataset.key === key) return;
  holder.dataset.key = key;
  holder.replaceChildren(...kinds.map((kind) => (kind === "source" ? legend() : bar(kind, view, hasMono))));
}

function bar(kind, view, hasMono) {
  const scale = { depth: view.depthScale, sigma: SIGMA_SCALE, difference: DIFFERENCE_SCALE }[kind];
  const row = labelled(t(kind === "difference" && hasMono ? "scale_difference_mono" : `scale_${kind}`));
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 256, height: 1 });
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(scale.colours);
  context.putImageData(image, 0, 0);
  const ticks = document.createElement("div");
  ticks.className = "ticks";
  for (let i = 0; i < TICKS; i++) {
    const tick = document.createElement("span");
    tick.style.left = `${(100 * i) / (TICKS - 1)}%`;
    tick.textContent = short(scale.valueAt(i / (TICKS - 1)));
    ticks.append(tick);
  }
  const column = document.createElement("div");
  column.append(canvas, ticks);
  row.append(column);
  return row;
}

function legend() {
  const row = labelled(t("scale_source"));
  const list = document.createElement("div");
  list.className = "legend";
  SOURCES.forEach((name, i) => {
    const item = document.createElement("span");
    item.append(swatch(i), t(`source_${name}`));
    list.append(item);
  });
  row.append(list);
  return row;
}

function labelled(text) {
  const row = document.createElement("div");
  row.className = "scale";
  const label = document.createElement("span");
  label.textContent = text;
  row.append(label);
  return row;
}

export function swatch(source) {
  const square = document.createElement("span");
  square.className = "swatch";
  square.style.background = `rgb(${SOURCE_COLOURS[source].join(",")})`;
  return square;
}

/** Three digits, without an exponent. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  return Number(value.toPrecision(3)).toString();
}
