// The pictures: two under a divider, or all; the pointer, the outline of what is too near, the measured distance.

import { DEPTHS, PANELS, PANEL_NAMES, fit, paint, valueAt } from "./panels.js";
import { t } from "./i18n.js";

const MONO_NEAR = 2;
const SMALLEST_REGION_PX = 6;
const element = (id) => document.getElementById(id);

export class Stage {
  /** tells: pointer(value or null) what is under the pointer, distance(metres or null) what lies between the points,
   * region(rectangle) and spot(pixel) what was chosen for judging.
   */
  constructor(view, tells) {
    this.view = view;
    this.tells = tells;
    this.frame = null;
    this.divider = 0.5;
    this.pointer = null;
    this.points = [];
    this.region = null;
    this.measuring = false;
    this.judging = false;
    this.corner = null;
    this.wipe = element("wipe");
    this.overlay = element("overlay");
    this.canvas = element("canvas");
    this.gridCanvases = this.makeGrid();
    this.listen();
    this.moveDivider(0.5);
  }

  makeGrid() {
    return Object.fromEntries(
      PANEL_NAMES.map((name) => {
        const figure = document.createElement("figure");
        const canvas = document.createElement("canvas");
        canvas.id = `grid-${name}`;
        const caption = document.createElement("figcaption");
        caption.dataset.i18n = `panel_${name}`;
        figure.append(canvas, caption);
        element("grid").append(figure);
        this.follow(canvas);
        return [name, canvas];
      }),
    );
  }

  /** The panels that are to be seen now. */
  get visible() {
    return this.view.mode === "grid" ? PANEL_NAMES : this.view.mode === "wipe" ? [this.view.a, this.view.b] : [];
  }

  show(frame) {
    this.frame = frame;
    this.draw();
  }

  draw() {
    if (!this.frame) return;
    const { width, height } = this.frame.header;
    this.wipe.style.aspectRatio = `${width} / ${height}`;
    // As large as fits above the readout.
    this.wipe.style.maxWidth = `calc((100vh - 17rem) * ${width / height})`;
    if (this.view.mode === "wipe") this.drawWipe();
    else if (this.view.mode === "grid") {
      for (const name of PANEL_NAMES) paint(name, this.frame, this.gridCanvases[name], this.view);
    }
    element("name-a").textContent = t(`panel_${this.view.a}`);
    element("name-b").textContent = t(`panel_${this.view.b}`);
    this.drawOverlay();
    this.tell();
  }

  /** One canvas for both pictures: each column is coloured once, by the panel that is to be seen there. */
  drawWipe() {
    const middle = Math.round(this.divider * this.frame.header.width);
    paint(this.view.a, this.frame, this.canvas, this.view, 0, middle);
    paint(this.view.b, this.frame, this.canvas, this.view, middle);
    if (this.view.outline && this.frame.header.pixels.mono_near > 0 && this.frame.planes.source) this.drawOutline();
  }

  /** What belongs to the pointer; hidden while empty, since a browser pays for every layer of a page. */
  drawOverlay() {
    const { width, height } = this.frame.header;
    this.overlay.hidden = this.view.mode !== "wipe" || !(this.pointer || this.points.length || this.region);
    if (this.overlay.hidden) return;
    const context = this.overlay.getContext("2d");
    if (!fit(this.overlay, this.frame.header)) context.clearRect(0, 0, width, height);
    this.drawPoints(context, width);
    if (this.region) frameRegion(context, this.region, width);
    if (this.pointer) cross(context, this.pointer.x + 0.5, this.pointer.y + 0.5, width / 90, width);
  }

  /** White on the rim, black around it: to be seen on every colour. */
  drawOutline() {
    const { width, height } = this.frame.header;
    const context = this.canvas.getContext("2d", { alpha: false });
    const runs = rimRuns(this.frame.planes.source.codes, width, height);
    for (const [colour, around] of [["#000", 1], ["#fff", 0]]) {
      context.fillStyle = colour;
      for (let i = 0; i < runs.length; i += 3) {
        context.fillRect(runs[i] - around, runs[i + 1] - around, runs[i + 2] + 2 * around, 1 + 2 * around);
      }
    }
  }

  drawPoints(context, width) {
    if (this.points.length === 2) {
      const [from, to] = this.points;
      for (const [colour, line] of [["#000", width / 220], ["#fff", width / 440]]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.beginPath();
        context.moveTo(from.x + 0.5, from.y + 0.5);
        context.lineTo(to.x + 0.5, to.y + 0.5);
        context.stroke();
      }
    }
    for (const { x, y } of this.points) cross(context, x + 0.5, y + 0.5, width / 60, width);
  }

  listen() {
    this.follow(this.wipe);
    this.wipe.addEventListener("keydown", (event) => this.onKey(event));
    const divider = element("divider");
    const drag = (event) => {
      if (!divider.hasPointerCapture(event.pointerId)) return;
      const box = this.wipe.getBoundingClientRect();
      this.moveDivider((event.clientX - box.left) / box.width);
    };
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    divider.addEventListener("pointermove", drag);
    divider.addEventListener("click", (event) => event.stopPropagation());
    divider.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      this.moveDivider(this.divider + step);
      event.preventDefault();
      event.stopPropagation();
    });
  }

  moveDivider(share) {
    this.divider = Math.min(Math.max(share, 0), 1);
    const percent = 100 * this.divider;
    element("divider").style.left = `${percent}%`;
    element("divider").setAttribute("aria-valuenow", percent.toFixed(0));
    if (this.frame && this.view.mode === "wipe") this.drawWipe();
  }

  /** Takes the pointer over a picture, and clicks for measuring. */
  follow(picture) {
    const pixelOf = (event) => {
      if (!this.frame) return null;
      const box = picture.getBoundingClientRect();
      const { width, height } = this.frame.header;
      const x = Math.floor(((event.clientX - box.left) / box.width) * width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * height);
      return x >= 0 && y >= 0 && x < width && y < height ? { x, y } : null;
    };
    picture.addEventListener("pointerdown", (event) => {
      if (!this.judging) return;
      picture.setPointerCapture(event.pointerId);
      this.region = null;
      this.corner = pixelOf(event);
    });
    picture.addEventListener("pointermove", (event) => {
      const pixel = pixelOf(event);
      if (this.judging && this.corner && pixel) this.region = between(this.corner, pixel);
      this.point(pixel);
    });
    picture.addEventListener("pointerup", () => this.judging && this.corner && this.choose());
    picture.addEventListener("pointerleave", () => this.point(null));
    picture.addEventListener("click", (event) => {
      this.point(pixelOf(event));
      if (!this.judging) this.mark();
    });
  }

  onKey(event) {
    const far = event.shiftKey ? 10 : 1;
    const move = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (!this.frame) return;
    const { width, height } = this.frame.header;
    if (move) {
      const from = this.pointer ?? { x: width >> 1, y: height >> 1 };
      const clip = (value, size) => Math.min(Math.max(value, 0), size - 1);
      this.point({ x: clip(from.x + move[0], width), y: clip(from.y + move[1], height) });
      event.preventDefault();
    } else if (event.key === "Enter" && this.judging) this.markCorner();
    else if (event.key === "Enter") this.mark();
  }

  point(pixel) {
    this.pointer = pixel;
    if (!this.frame) return;
    this.drawOverlay();
    this.tell();
  }

  mark() {
    if (!this.measuring || !this.pointer) return;
    this.points = [...(this.points.length === 2 ? [] : this.points), this.pointer];
    this.drawOverlay();
    this.tell();
  }

  setJudging(judging) {
    this.judging = judging;
    this.region = this.corner = null;
    if (this.frame) this.draw();
  }

  /** The keyboard's way: Enter on one corner, Enter on the other; twice on one place: that pixel. */
  markCorner() {
    if (!this.pointer) return;
    if (!this.corner) {
      this.region = null;
      this.corner = this.pointer;
      return;
    }
    this.region = between(this.corner, this.pointer);
    this.choose();
  }

  /** A drag gives a region, a click the pixel. */
  choose() {
    const { corner, region } = this;
    this.corner = null;
    if (region && region.width >= SMALLEST_REGION_PX && region.height >= SMALLEST_REGION_PX) this.tells.region(region);
    else {
      this.region = null;
      this.tells.spot(corner);
    }
    this.drawOverlay();
  }

  setMeasuring(measuring) {
    this.measuring = measuring;
    this.points = [];
    if (this.frame) this.draw();
  }

  tell() {
    this.tells.pointer(this.pointer && valueAt(this.frame, this.pointer.x, this.pointer.y));
    this.tells.distance(this.points.length === 2 ? this.distance() : null);
  }

  /** Metres between the two points, and one sigma of it from the depths' own sigmas along the line of sight. */
  distance() {
    const [from, to] = this.points.map(({ x, y }) => valueAt(this.frame, x, y));
    const way = from.point.map((value, axis) => to.point[axis] - value);
    const metres = Math.hypot(...way);
    const error = Math.hypot(...[from, to].map((end) => {
      const along = end.point.reduce((sum, value, axis) => sum + value * way[axis], 0) / metres;
      return end.sigma * along;
    }));
    return { metres, error };
  }

  /** What stereo cannot see for nearness: pixels, share, nearest depth in metres. */
  near() {
    const { source, depth } = this.frame.planes;
    const pixels = this.frame.header.pixels.mono_near;
    let nearest = Infinity;
    if (pixels && source && depth) {
      for (let i = 0; i < source.codes.length; i++) {
        if (source.codes[i] === MONO_NEAR) nearest = Math.min(nearest, DEPTHS[depth.codes[i]]);
      }
    }
    return { pixels, share: pixels / (this.frame.header.width * this.frame.header.height), nearest };
  }

  /** Whether somebody reads values off the picture. */
  get looking() {
    return Boolean(this.pointer || this.points.length);
  }

  get parts() {
    return this.visible.flatMap((name) => PANELS[name].parts);
  }
}

function cross(context, x, y, size, width) {
  for (const [colour, line] of [["#000", width / 260], ["#fff", width / 640]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.beginPath();
    context.moveTo(x - size, y);
    context.lineTo(x + size, y);
    context.moveTo(x, y - size);
    context.lineTo(x, y + size);
    context.stroke();
  }
}

/** Rows of x, y and length: where what is too near borders on something else. */
function rimRuns(source, width, height) {
  const runs = [];
  for (let y = 1; y < height - 1; y++) {
    let begin = -1;
    for (let x = 1, i = y * width + 1; x < width; x++, i++) {
      const rim =
        x < width - 1 && source[i] === MONO_NEAR &&
        (source[i - 1] !== MONO_NEAR || source[i + 1] !== MONO_NEAR || source[i - width] !== MONO_NEAR || source[i + width] !== MONO_NEAR);
      if (rim && begin < 0) begin = x;
      else if (!rim && begin >= 0) {
        runs.push(begin, y, x - begin);
        begin = -1;
      }
    }
  }
  return runs;
}

/** The rectangle with these two pixels as corners, both inside. */
function between(a, b) {
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  return { x, y, width: Math.abs(a.x - b.x) + 1, height: Math.abs(a.y - b.y) + 1 };
}

function frameRegion(context, { x, y, width, height }, pictureWidth) {
  for (const [colour, line] of [["#000", pictureWidth / 220], ["#fff", pictureWidth / 440]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  }
}
