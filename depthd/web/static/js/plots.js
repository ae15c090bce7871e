// Plots of the fit, the residual, and the last two minutes (uPlot).

import { onLanguage, t } from "./i18n.js";
import { SOURCES, SOURCE_COLOURS } from "./colours.js";

const HISTORY_S = 120;
const REDRAW_MS = 1000;
const HEIGHT = 150;
const INLIER_SIGMAS = 3;
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (colour) => `rgb(${colour.join(",")})`;

const dots = (size) => (plot, index) => {
  const path = new Path2D();
  const [xs, ys] = [plot.data[0], plot.data[index]];
  const side = size * devicePixelRatio;
  for (let i = 0; i < xs.length; i++) {
    if (ys[i] == null) continue;
    path.rect(plot.valToPos(xs[i], "x", true) - side / 2, plot.valToPos(ys[i], "y", true) - side / 2, side, side);
  }
  return { stroke: null, fill: path };
};

function lines(keys, colours = LINES) {
  return keys.map((label, i) => ({ label, stroke: colours[i % colours.length], width: 1.5, points: { show: false }, spanGaps: true }));
}

export class Plots {
  constructor(holder) {
    this.holder = holder;
    this.history = [];
    this.plots = {};
    this.samples = null;
    this.temperature = null;
    this.drawnAt = 0;
    this.seen = new Set();
    this.watching = new IntersectionObserver((changes) => this.scrolled(changes));
    onLanguage(() => this.rebuild());
    new ResizeObserver(() => this.resize()).observe(holder);
  }

  /** Plots out of sight are not drawn; those that come into sight are, at once. */
  scrolled(changes) {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) this.seen.add(target.id);
      else this.seen.delete(target.id);
    }
    this.drawnAt = 0;
  }

  /** Remembers the frame; draws about once a second. fps: of the writer, by its own clock. */
  show(frame, fps) {
    const { header, planes } = frame;
    const time = header.captured_ns / 1e9;
    if (this.history.length && time <= this.history.at(-1).time) this.history = [];
    this.history.push({ time, header, fps, temperature: this.temperature });
    while (this.history[0].time < time - HISTORY_S) this.history.shift();
    if (planes.samples) this.samples = { numbers: planes.samples.numbers, fit: header.fit };
    if (performance.now() - this.drawnAt < REDRAW_MS) return;
    this.drawnAt = performance.now();
    this.draw();
  }

  rebuild() {
    for (const { plot } of Object.values(this.plots)) plot.destroy();
    this.plots = {};
    this.watching.disconnect();
    this.seen.clear();
    this.holder.replaceChildren();
    if (this.history.length) this.draw();
  }

  draw() {
    if (this.samples?.numbers.length) this.drawSamples();
    const first = this.history[0].time;
    const times = this.history.map(({ time }) => time - first);
    const series = (read) => this.history.map((entry) => read(entry) ?? null);
    this.put("fit", "plot_fit", [t("fit_scale"), t("fit_shift")], [
      times, series(({ header }) => header.fit.scale), series(({ header }) => header.fit.shift),
    ], { series: [{}, { ...lines([t("fit_scale")])[0] }, { ...lines([t("fit_shift")], [LINES[1]])[0], scale: "shift" }], axes: [{}, {}, { scale: "shift", side: 1, grid: { show: false } }] });
    const stages = Object.keys(this.history.at(-1).header.stages_ms);
    this.put("latency", "plot_latency", stages, [times, ...stages.map((s) => series(({ header }) => header.stages_ms[s]))]);
    this.put("fps", "plot_fps", ["fps"], [times, series(({ fps }) => fps)], { fromZero: true });
    this.put("shares", "plot_shares", SOURCES.map((s) => t(`source_${s}`)), [
      times, ...SOURCES.map((s) => series(({ header }) => (100 * header.pixels[s]) / (header.width * header.height))),
    ], { colours: SOURCE_COLOURS.map((c, i) => (i ? rgb(c) : "#888")), fromZero: true });
    const zones = Object.keys(this.temperature ?? {});
    if (zones.length) this.put("temperature", "plot_temperature", zones, [times, ...zones.map((z) => series((e) => e.temperature?.[z]))]);
  }

  drawSamples() {
    const { numbers, fit } = this.samples;
    const order = Array.from({ length: numbers.length / 2 }, (_, i) => i).sort((a, b) => numbers[2 * a] - numbers[2 * b]);
    const x = order.map((i) => numbers[2 * i]);
    const rho = order.map((i) => numbers[2 * i + 1]);
    if (fit.scale === null) {
      this.put("scatter", "plot_scatter", [t("outliers")], [x, rho], { series: [{}, { label: t("outliers"), stroke: LINES[3], fill: LINES[3], paths: dots(2.2), points: { show: false } }] });
      return;
    }
    const line = x.map((value) => fit.scale * value + fit.shift);
    const residual = rho.map((value, i) => 100 * (line[i] / value - 1));
    const gate = 100 * INLIER_SIGMAS * (fit.residual ?? 0.05);
    const inlier = residual.map((value) => Math.abs(value) <= gate);
    const only = (keep) => rho.map((value, i) => (inlier[i] === keep ? value : null));
    const scatterSeries = (label, colour) => ({ label, stroke: colour, fill: colour, paths: dots(2.2), points: { show: false } });
    this.put("scatter", "plot_scatter", [], [x, only(true), only(false), line], {
      series: [{}, scatterSeries(t("inliers"), LINES[0]), scatterSeries(t("outliers"), LINES[1]), { ...lines([t("line")], [css("--text")])[0], width: 2 }],
      yRange: [0, quantile(rho, 0.995) * 1.1],
      height: 210,
    });
    this.drawResidualByDepth(rho, residual);
    this.drawHistogram(residual);
  }

  drawResidualByDepth(rho, residual) {
    const depths = rho.map((value) => 1 / value);
    const [low, high] = [quantile(depths, 0.01), quantile(depths, 0.99)];
    const bins = Array.from({ length: 12 }, () => []);
    depths.forEach((depth, i) => {
      const bin = Math.floor((12 * Math.log(depth / low)) / Math.log(high / low));
      if (bin >= 0 && bin < 12) bins[bin].push(residual[i]);
    });
    const used = bins.map((values, bin) => ({ values, depth: low * (high / low) ** ((bin + 0.5) / 12) })).filter(({ values }) => values.length >= 5);
    const at = (share) => used.map(({ values }) => quantile(values, share));
    this.put("residual", "plot_residual_depth", ["16 %", t("median"), "84 %"], [used.map(({ depth }) => depth), at(0.16), at(0.5), at(0.84)], { colours: [LINES[5], LINES[0], LINES[5]] });
  }

  drawHistogram(residual) {
    const counts = new Array(41).fill(0);
    for (const value of residual) counts[Math.max(0, Math.min(40, Math.round(value) + 20))]++;
    this.put("histogram", "plot_histogram", ["%"], [counts.map((_, i) => i - 20), counts.map((n) => (100 * n) / residual.length)], {
      series: [{}, { label: "%", stroke: LINES[0], fill: LINES[0], paths: uPlot.paths.bars({ size: [0.9] }), points: { show: false } }],
      fromZero: true,
    });
  }

  put(key, title, labels, data, options = {}) {
    const shape = labels.join();
    const old = this.plots[key];
    if (old && old.shape === shape) {
      if (!this.seen.has(old.figure.id)) return;
      old.range = options.yRange;
      old.plot.setData(data);
      return;
    }
    old?.plot.destroy();
    const figure = old?.figure ?? document.createElement("figure");
    if (!old) {
      figure.id = `plot-${key}`;
      this.holder.append(figure);
      this.watching.observe(figure);
    }
    const caption = document.createElement("figcaption");
    caption.textContent = t(title);
    figure.replaceChildren(caption);
    const entry = { figure, shape, range: options.yRange, height: options.height ?? HEIGHT };
    const axis = { stroke: () => css("--faint"), grid: { stroke: () => css("--line"), width: 1 }, ticks: { stroke: () => css("--line") }, font: "11px system-ui", size: 42 };
    const axes = (options.axes ?? [{}, {}]).map((own, i) => ({ ...axis, ...(i === 0 ? { size: 26 } : {}), ...own, grid: own.grid ?? axis.grid }));
    entry.plot = new uPlot(
      {
        width: Math.max(200, this.holder.clientWidth),
        height: entry.height,
        series: options.series ?? [{}, ...lines(labels, options.colours)],
        axes,
        scales: { x: { time: false }, y: { range: (_, low, high) => entry.range ?? spread(options.fromZero ? 0 : low, high) }, shift: { range: (_, low, high) => spread(low, high) } },
        legend: { live: false, show: (options.series ?? labels).length > 1 },
        cursor: { show: false },
      },
      data,
      figure,
    );
    this.plots[key] = entry;
  }

  resize() {
    for (const { plot, height } of Object.values(this.plots)) plot.setSize({ width: Math.max(200, this.holder.clientWidth), height });
  }
}

function spread(low, high) {
  if (low == null || high == null) return [0, 1];
  const room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 0.1;
  return [low === 0 ? 0 : low - room, high + room];
}

export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))];
}
