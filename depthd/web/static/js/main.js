// Ties the page together: what the user chooses, what has to be asked for, what is shown.

import { MAP_NAMES, SOURCES, SOURCE_COLOURS, Scale } from "./colours.js";
import { Judge } from "./judge.js";
import { Knobs } from "./knobs.js";
import { PANEL_NAMES, depthRange } from "./panels.js";
import { Plots } from "./plots.js";
import { Stage } from "./stage.js";
import { Stream } from "./stream.js";
import { currentLanguage, onLanguage, setLanguage, t } from "./i18n.js";
import { short, showScales, swatch } from "./scales.js";

const HEALTH_MS = 3000;
const CLOUD_MS = 100;
const NUMBERS_MS = 250;
const POINTER_PARTS = ["sigma", "stereo"];
const element = (id) => document.getElementById(id);
const stored = (key, otherwise) => localStorage.getItem(`depthd.${key}`) ?? otherwise;
const store = (key, value) => localStorage.setItem(`depthd.${key}`, value);

const view = {
  a: "left",
  b: "depth",
  mode: "wipe",
  outline: true,
  automatic: true,
  cloudColour: "picture",
  depthScale: new Scale({ low: 0.3, high: 10, kind: stored("scale", "log"), map: stored("map", "viridis"), reverse: true }),
};
const status = { state: "starting", detail: "" };
let frozen = false;
let frame = null;
let cloud = null;
let cloudAt = 0;
let numbersAt = 0;
let health = null;
let arrivals = [];
const counters = { frames: 0, decodeMs: 0 };

const judge = new Judge(() => (frozen && frame?.header.held ? frame.header.id : null));
const knobs = new Knobs();
const stage = new Stage(view, {
  pointer: showPointer,
  distance: showDistance,
  region: (region) => judge.region(region),
  spot: (pixel) => judge.spot(pixel),
});
const plots = new Plots(element("plot-list"));
const stream = new Stream(showFrame, showStatus);

function showFrame(next) {
  if (frozen && !next.header.held) return;
  frame = next;
  counters.frames++;
  counters.decodeMs = 0.9 * counters.decodeMs + 0.1 * next.decodeMs;
  count(next.header);
  // What people read changes a few times a second; laying the page out anew for every frame is dear.
  const tellNumbers = frozen || performance.now() - numbersAt > NUMBERS_MS;
  if (tellNumbers) numbersAt = performance.now();
  if (tellNumbers && view.automatic && next.planes.depth) followRange(next.planes.depth.codes);
  stage.show(next);
  showScales(element("scales"), view.mode === "cloud" ? [] : stage.visible, view, Boolean(next.planes.mono));
  if (view.mode === "cloud" && cloud && performance.now() - cloudAt > CLOUD_MS) {
    cloudAt = performance.now();
    cloud.show(next, view.cloudColour);
  }
  plots.show(next, framesPerSecond());
  if (tellNumbers) showNumbers(next.header);
  if (frozen) linkDownloads();
}

/** The writer's rate, from its own times and ids, whatever this page has dropped. */
function count(header) {
  // A frame that is held comes again when more of it is asked for.
  if (arrivals.at(-1)?.id === header.id && arrivals.at(-1).writer === header.writer) return;
  if (arrivals.length && (header.id <= arrivals.at(-1).id || header.writer !== arrivals.at(-1).writer)) arrivals = [];
  arrivals.push({ id: header.id, ns: header.captured_ns, writer: header.writer });
  if (arrivals.length > 30) arrivals.shift();
}

function framesPerSecond() {
  const [first, last] = [arrivals[0], arrivals.at(-1)];
  return arrivals.length > 1 && last.ns > first.ns ? (last.id - first.id) / ((last.ns - first.ns) / 1e9) : null;
}

function followRange(codes) {
  const range = depthRange(codes);
  if (!range) return;
  const { low, high } = view.depthScale;
  // Still while the scene is: colours that breathe say nothing.
  const moved = Math.abs(range[0] / low - 1) > 0.15 || Math.abs(range[1] / high - 1) > 0.15;
  if (moved) setScale({ low: range[0], high: Math.max(range[1], range[0] * 1.05) });
}

function setScale(change) {
  const { low, high, kind, map } = { ...view.depthScale, ...change };
  view.depthScale = new Scale({ low, high, kind, map, reverse: true });
  element("range-low").value = low.toFixed(2);
  element("range-high").value = high.toFixed(2);
}

function showNumbers(header) {
  const fps = framesPerSecond();
  element("fps").textContent = fps === null ? "–" : fps.toFixed(1);
  const age = frozen ? null : stream.ageMs(header.captured_ns);
  element("latency").textContent = age === null ? "–" : age.toFixed(0);
  const fit = element("fit");
  fit.textContent = `${t(`fit_${header.fit.status}`)}${header.fit.residual === null ? "" : ` · ${(100 * header.fit.residual).toFixed(1)} %`}`;
  fit.className = `pill ${{ fitted: "good", held: "warn", unfit: "bad" }[header.fit.status]}`;
  showNear();
  showShares(header);
  showState();
  element("samples-hint").hidden = header.planes.includes("mono");
}

/** Looks at every pixel, so not for every frame. */
function showNear() {
  const near = stage.near();
  element("near-pixels").textContent = near.pixels.toLocaleString("en");
  element("near-share").textContent = (100 * near.share).toFixed(1);
  element("near-depth").textContent = short(near.nearest);
}

function showShares(header) {
  const total = header.width * header.height;
  const shares = SOURCES.map((name) => (100 * header.pixels[name]) / total);
  const bar = element("shares-bar");
  if (bar.children.length !== SOURCES.length) {
    bar.replaceChildren(...SOURCES.map((_, i) => Object.assign(document.createElement("span"), { style: `background: rgb(${SOURCE_COLOURS[i].join(",")})` })));
  }
  const list = element("shares");
  if (list.dataset.language !== currentLanguage()) {
    list.dataset.language = currentLanguage();
    list.replaceChildren(
      ...SOURCES.map((name, i) => {
        const item = document.createElement("li");
        const label = document.createElement("span");
        label.textContent = t(`source_${name}`);
        item.append(swatch(i), label, document.createElement("span"));
        return item;
      }),
    );
  }
  shares.forEach((share, i) => {
    bar.children[i].style.width = `${share}%`;
    list.children[i].lastChild.textContent = `${share.toFixed(1)} %`;
  });
}

function showPointer(value) {
  askForParts();
  const put = (id, text) => (element(`value-${id}`).textContent = text);
  if (!value) {
    for (const id of ["pixel", "depth", "stereo", "source", "sigma", "position"]) put(id, "–");
    return;
  }
  put("pixel", `${value.x}, ${value.y}`);
  put("depth", Number.isFinite(value.depth) ? `${value.depth.toFixed(3)} m` : "–");
  put("stereo", Number.isFinite(value.stereo) ? `${value.stereo.toFixed(3)} m` : t(`hole_${value.stereoHole}`));
  put("source", value.source === null ? "–" : t(`source_${SOURCES[value.source] ?? "invalid"}`));
  put("sigma", value.sigma >= 0 ? `${(100 * value.sigma).toFixed(2)} % · ${(1000 * value.sigma * value.depth).toFixed(0)} mm` : "–");
  put("position", Number.isFinite(value.depth) ? value.point.map((c) => c.toFixed(3)).join(", ") : "–");
}

function showDistance(distance) {
  const known = distance && Number.isFinite(distance.metres);
  element("value-distance").textContent = known ? `${distance.metres.toFixed(3)} m ± ${(1000 * distance.error).toFixed(0)} mm` : "–";
}

function showStatus({ state, detail }) {
  Object.assign(status, { state, detail });
  showState();
}

function showState() {
  let state = status.state;
  if (state === "running" && frame && frame.header.state !== "running") state = frame.header.state;
  if (["running", "waiting"].includes(state) && frozen) state = "frozen";
  const pill = element("state");
  pill.dataset.state = state;
  pill.textContent = t(`state_${state}`);
  element("waiting").textContent = frame || state === "running" ? "" : `${t(`state_${state}`)}\n${status.detail}`;
}

/** Only what is to be seen now is encoded, sent and decoded; a frozen page takes everything. */
function askForParts() {
  const parts = [...stage.parts, "depth", "source", "samples"];
  if (view.mode === "cloud") parts.push("left");
  if (frozen || stage.looking) parts.push("left", ...POINTER_PARTS);
  stream.want(parts);
}

function setMode(mode) {
  view.mode = mode;
  document.body.dataset.mode = mode;
  for (const name of ["wipe", "grid", "cloud"]) element(name).hidden = name !== mode;
  for (const button of document.querySelectorAll("[data-mode]:is(button)")) {
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", button.dataset.mode === mode);
  }
  element("readout").hidden = element("scale-controls").hidden = element("scales").hidden = mode === "cloud";
  if (mode === "cloud") openCloud();
  refresh();
}

async function openCloud() {
  try {
    const { Cloud } = await import("./cloud.js");
    cloud ??= new Cloud(element("cloud"));
    element("cloud-message").textContent = t("cloud_hint");
    cloud.resize();
    if (frame) cloud.show(frame, view.cloudColour);
  } catch {
    element("cloud-message").textContent = t("no_webgl");
  }
}

/** After a choice: asks for what is needed now, and shows the frame that is here. */
function refresh() {
  askForParts();
  element("panel-a").value = view.a;
  element("panel-b").value = view.b;
  if (!frame) return;
  stage.draw();
  showScales(element("scales"), stage.visible, view, Boolean(frame.planes.mono));
  showNumbers(frame.header);
}

function setFrozen(value) {
  frozen = value;
  askForParts();
  element("freeze").setAttribute("aria-pressed", frozen);
  if (frozen) stream.hold();
  else stream.go();
  linkDownloads();
  showState();
}

function linkDownloads() {
  const id = frozen && frame?.header.held ? `?id=${frame.header.id}` : "";
  for (const link of document.querySelectorAll("[data-frame]")) {
    link.href = `/frame.${link.dataset.frame}${id}`;
    link.setAttribute("download", "");
  }
  element("record").href = `/recording.zip?seconds=${element("seconds").value}`;
  element("record").setAttribute("download", "");
}

const actions = {
  freeze: () => setFrozen(!frozen),
  step: () => setFrozen(true),
  measure: () => {
    if (stage.judging) actions.judge();
    stage.setMeasuring(!stage.measuring);
    element("measure").setAttribute("aria-pressed", stage.measuring);
    showDistance(null);
  },
  judge: () => {
    const judging = !stage.judging;
    if (judging && stage.measuring) actions.measure();
    stage.setJudging(judging);
    element("judge").setAttribute("aria-pressed", judging);
    element("judge-card").hidden = !judging;
    // What is judged is what is seen.
    if (judging) setMode("wipe");
    if (judging && !frozen) setFrozen(true);
  },
  outline: () => {
    view.outline = !view.outline;
    element("outline").setAttribute("aria-pressed", view.outline);
    refresh();
  },
  swap: () => {
    [view.a, view.b] = [view.b, view.a];
    refresh();
  },
  theme: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  language: () => {
    store("language", currentLanguage() === "en" ? "ja" : "en");
    setLanguage(stored("language"));
  },
  help: () => element("keys").showModal(),
  wipe: () => setMode("wipe"),
  grid: () => setMode("grid"),
  cloud: () => setMode("cloud"),
};

const KEYS = [
  ["1–6", "key_panels"], ["Shift 1–6", "key_panels_left"], ["Space", "key_freeze", "freeze"], [".", "key_step", "step"],
  ["v g c", "key_mode"], ["m", "key_measure", "measure"], ["j", "key_judge", "judge"], ["o", "key_outline", "outline"], ["x", "key_swap", "swap"],
  ["← ↑ → ↓", "key_pointer"], ["← →", "key_divider"], ["t", "key_theme", "theme"], ["l", "key_language", "language"],
];
const KEY_ACTIONS = { " ": "freeze", ".": "step", v: "wipe", g: "grid", c: "cloud", m: "measure", j: "judge", o: "outline", x: "swap", t: "theme", l: "language", "?": "help" };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || element("keys").open) return;
  if (event.target.closest("input, select, dialog")) return;
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  const digit = /^Digit([1-6])$/.exec(event.code);
  if (digit) {
    view[event.shiftKey ? "a" : "b"] = PANEL_NAMES[digit[1] - 1];
    setMode("wipe");
  } else if (event.key in KEY_ACTIONS) actions[KEY_ACTIONS[event.key]]();
  else return;
  event.preventDefault();
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  store("theme", theme);
  plots.rebuild();
}

function fillChoices() {
  for (const [id, side] of [["panel-a", "a"], ["panel-b", "b"]]) {
    element(id).replaceChildren(...PANEL_NAMES.map((name) => new Option(t(`panel_${name}`), name, false, view[side] === name)));
    element(id).value = view[side];
  }
  element("map").replaceChildren(...MAP_NAMES.map((name) => new Option(name, name)));
  element("map").value = view.depthScale.map;
  element("scale-kind").value = view.depthScale.kind;
  element("language").textContent = currentLanguage() === "en" ? "日本語" : "English";
  element("key-table").replaceChildren(
    ...KEYS.map(([keys, words]) => {
      const row = document.createElement("tr");
      const names = document.createElement("th");
      names.append(Object.assign(document.createElement("kbd"), { textContent: keys }));
      row.append(names, Object.assign(document.createElement("td"), { textContent: t(words) }));
      return row;
    }),
  );
  if (frame) showNumbers(frame.header);
  showState();
  showHealth();
  if (cloud) element("cloud-message").textContent = t("cloud_hint");
  judge.show();
}

async function askHealth() {
  if (document.hidden) return;
  knobs.read();
  try {
    const answer = await fetch("/health");
    health = answer.ok ? await answer.json() : null;
  } catch {
    health = null;
  }
  plots.temperature = health?.temperature_c ?? null;
  showHealth();
}

function showHealth() {
  const writer = health?.writer;
  const camera = frame?.header.camera;
  const rows = [
    ["camera", writer ? writer.description : "–"],
    ["model", camera ? `${camera.width}×${camera.height}, fx ${short(camera.fx)} px, ${short(1000 * camera.baseline_m)} mm` : "–"],
    ["fit", frame ? `${short(frame.header.fit.scale ?? NaN)} · mono + ${short(frame.header.fit.shift ?? NaN)}, r ${short(frame.header.fit.pearson_r ?? NaN)}, ${frame.header.fit.sample_count}` : "–"],
    ["misses", writer?.deadline_misses ?? "–"],
    ["dropped", writer?.dropped ?? "–"],
    ["reconnects", writer?.reconnects ?? "–"],
    ["process", writer ? `${writer.pid} ${writer.software}` : "–"],
    ["viewers", health?.viewers ?? "–"],
    ["decode", `${counters.decodeMs.toFixed(1)} ms`],
    ["temperature", Object.entries(health?.temperature_c ?? {}).map(([zone, c]) => `${zone} ${c.toFixed(0)} °C`).join(", ") || "–"],
    ["versions", Object.entries(health?.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ")],
  ];
  element("health").replaceChildren(
    ...rows.map(([key, text]) => {
      const row = document.createElement("tr");
      row.append(Object.assign(document.createElement("th"), { textContent: t(`health_${key}`) }), Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    }),
  );
  element("configuration").textContent = health?.configuration ?? "–";
}

function listen() {
  for (const id of ["freeze", "step", "measure", "judge", "outline", "swap", "theme", "language", "help"]) element(id).onclick = actions[id];
  for (const button of document.querySelectorAll("button[data-mode]")) button.onclick = () => setMode(button.dataset.mode);
  element("panel-a").onchange = ({ target }) => { view.a = target.value; refresh(); };
  element("panel-b").onchange = ({ target }) => { view.b = target.value; refresh(); };
  element("map").onchange = ({ target }) => { store("map", target.value); setScale({ map: target.value }); refresh(); };
  element("scale-kind").onchange = ({ target }) => { store("scale", target.value); setScale({ kind: target.value }); refresh(); };
  element("automatic").onchange = ({ target }) => { view.automatic = target.checked; };
  for (const id of ["range-low", "range-high"]) element(id).onchange = chooseRange;
  element("seconds").onchange = linkDownloads;
  element("cloud-colour").onchange = ({ target }) => { view.cloudColour = target.value; if (frame && cloud) cloud.show(frame, view.cloudColour); };
  element("cloud-home").onclick = () => cloud?.home();
  document.addEventListener("keydown", onKey);
}

function chooseRange() {
  const [low, high] = [Number(element("range-low").value), Number(element("range-high").value)];
  if (!(low > 0 && high > low)) return;
  view.automatic = element("automatic").checked = false;
  setScale({ low, high });
  refresh();
}

listen();
document.documentElement.dataset.theme = stored("theme", matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
setLanguage(stored("language", navigator.language.startsWith("ja") ? "ja" : "en"));
onLanguage(fillChoices);
onLanguage(() => frame && refresh());
setMode("wipe");
setScale({});
linkDownloads();
setInterval(askHealth, HEALTH_MS);
askHealth();

// For the console and the browser tests: what the page holds, to look at.
window.depthd = { view, stage, plots, stream, counters, status, frame: () => frame, cloud: () => cloud, frozen: () => frozen, setScale, setMode, refresh };
