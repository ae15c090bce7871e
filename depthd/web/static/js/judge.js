// Is a plane a plane, a sphere a sphere, and a measured distance right? Asks the server about a region or a pixel.

import { t } from "./i18n.js";

const element = (id) => document.getElementById(id);

export class Judge {
  /** heldId() names the frame that the page holds; null: the server takes the next one. */
  constructor(heldId) {
    this.heldId = heldId;
    this.answer = null;
    element("judge-shape").onsubmit = (event) => {
      event.preventDefault();
      this.ask({ shape: element("judge-kind").value, depth: element("judge-depth").value, region: element("judge-region").value });
    };
    element("judge-distance").onsubmit = (event) => {
      event.preventDefault();
      this.ask({ at: element("judge-at").value, distance_mm: element("judge-mm").value });
    };
    for (const id of ["judge-kind", "judge-depth"]) {
      element(id).onchange = () => element("judge-region").value && element("judge-shape").requestSubmit();
    }
  }

  region({ x, y, width, height }) {
    element("judge-region").value = [x, y, width, height].join();
    element("judge-shape").requestSubmit();
  }

  spot({ x, y }) {
    element("judge-at").value = `${x},${y}`;
    if (element("judge-mm").value) element("judge-distance").requestSubmit();
    else element("judge-mm").focus();
  }

  async ask(query) {
    const id = this.heldId();
    const words = new URLSearchParams(id === null ? query : { ...query, id });
    try {
      const answer = await fetch(`/evaluate?${words}`);
      this.answer = answer.ok ? await answer.json() : { refused: (await answer.text()).replace(/^depthd: /, "") };
    } catch {
      this.answer = { refused: t("state_disconnected") };
    }
    this.show();
  }

  show() {
    const { values = {}, picture = null, refused = null } = this.answer ?? {};
    const rows = Object.entries(values).map(([name, value]) => row(t(`judge_${name}`), written(value)));
    element("judge-values").replaceChildren(...rows, ...(refused ? [row("", refused)] : []));
    element("judge-picture").hidden = !picture;
    if (picture) Object.assign(element("judge-picture"), { src: picture, alt: t("judge_picture") });
  }
}

function written(value) {
  if (value === null) return t("hole_unmatched");
  return Array.isArray(value) ? value.join(", ") : String(value);
}

function row(key, text) {
  const line = document.createElement("tr");
  line.append(Object.assign(document.createElement("th"), { textContent: key }), Object.assign(document.createElement("td"), { textContent: text }));
  return line;
}
