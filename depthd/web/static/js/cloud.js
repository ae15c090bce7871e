// The frame as a cloud of points, turned and moved with the mouse, fingers or arrow keys.

import * as THREE from "three";
import { OrbitControls } from "../vendor/three/OrbitControls.js";
import { SOURCE_COLOURS } from "./colours.js";
import { DEPTHS } from "./panels.js";

const MOST_POINTS = matchMedia("(pointer: coarse)").matches ? 40000 : 120000;
const FARTHEST_M = 30;

export class Cloud {
  /** Throws where the browser has no WebGL. */
  constructor(holder) {
    this.holder = holder;
    this.renderer = new THREE.WebGLRenderer({ antialias: false, powerPreference: "low-power" });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 1.5));
    holder.prepend(this.renderer.domElement);
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(0x0b0e13);
    this.eye = new THREE.PerspectiveCamera(55, 16 / 9, 0.02, 200);
    this.controls = new OrbitControls(this.eye, this.renderer.domElement);
    this.controls.addEventListener("change", () => this.draw());
    this.positions = new THREE.BufferAttribute(new Float32Array(MOST_POINTS * 3), 3).setUsage(THREE.DynamicDrawUsage);
    this.colours = new THREE.BufferAttribute(new Float32Array(MOST_POINTS * 3), 3).setUsage(THREE.DynamicDrawUsage);
    this.geometry = new THREE.BufferGeometry();
    this.geometry.setAttribute("position", this.positions);
    this.geometry.setAttribute("color", this.colours);
    const material = new THREE.PointsMaterial({ size: 2, vertexColors: true, sizeAttenuation: false });
    this.material = material;
    const points = new THREE.Points(this.geometry, material);
    points.frustumCulled = false;
    this.scene.add(points, new THREE.AxesHelper(0.1));
    this.sample = document.createElement("canvas");
    this.count = 0;
    this.placed = false;
    new ResizeObserver(() => this.resize()).observe(holder);
    this.resize();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.holder;
    if (!width || !height) return;
    this.renderer.setSize(width, height);
    this.eye.aspect = width / height;
    this.eye.updateProjectionMatrix();
    this.draw();
  }

  /** Looks from a little behind the camera at what lies in the middle. */
  home() {
    const middle = this.middleM ?? 2;
    this.eye.position.set(0, 0.12 * middle, 0.35 * middle);
    this.controls.target.set(0, 0, -middle);
    this.controls.update();
    this.draw();
  }

  show(frame, by) {
    const { header, planes } = frame;
    if (!planes.depth) return;
    const { width, height, camera } = header;
    const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_POINTS)));
    const picture = by === "picture" && planes.left ? this.pixels(planes.left.bitmap, Math.ceil(width / step), Math.ceil(height / step)) : null;
    const columns = Math.ceil(width / step);
    const [xyz, rgb] = [this.positions.array, this.colours.array];
    let count = 0;
    let sum = 0;
    for (let y = 0, row = 0; y < height; y += step, row++) {
      for (let x = 0, column = 0; x < width; x += step, column++) {
        const i = y * width + x;
        const depth = DEPTHS[planes.depth.codes[i]];
        if (!(depth < FARTHEST_M) || depth <= 0 || count >= MOST_POINTS) continue;
        xyz[3 * count] = ((x - camera.cx) / camera.fx) * depth;
        xyz[3 * count + 1] = -((y - camera.cy) / camera.fy) * depth;
        xyz[3 * count + 2] = -depth;
        const colour = picture ? null : (SOURCE_COLOURS[planes.source?.codes[i] ?? 1] ?? [255, 255, 255]);
        const at = 4 * (row * columns + column);
        for (let c = 0; c < 3; c++) rgb[3 * count + c] = linear((picture ? picture[at + c] : colour[c]) / 255);
        sum += depth;
        count++;
      }
    }
    this.count = count;
    // From the camera's own place, the points just touch.
    this.material.size = Math.max(1.5, (1.35 * this.renderer.domElement.width) / columns);
    this.middleM = count ? sum / count : 2;
    this.geometry.setDrawRange(0, count);
    this.positions.needsUpdate = true;
    this.colours.needsUpdate = true;
    if (!this.placed && count) {
      this.placed = true;
      this.home();
    }
    this.draw();
  }

  pixels(bitmap, width, height) {
    Object.assign(this.sample, { width, height });
    const context = this.sample.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }

  draw() {
    this.renderer.render(this.scene, this.eye);
  }
}

/** sRGB to the linear light that three.js computes in. */
function linear(value) {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}
