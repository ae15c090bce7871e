// The few keys that the daemon lets be changed, and only from a page with the token.

import { t } from "./i18n.js";

const element = (id) => document.getElementById(id);

export class Knobs {
  constructor() {
    this.shown = "";
    this.refused = "";
  }

  async read() {
    try {
      const answer = await fetch("/knobs");
      if (answer.ok) this.show(await answer.json());
    } catch {
      // The stream says that there is no connection.
    }
  }

  async turn(key, value) {
    const answer = await fetch("/knobs", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key, value }) });
    this.refused = answer.ok ? "" : (await answer.text()).replace(/^depthd: /, "");
    this.shown = "";
    if (answer.ok) this.show(await answer.json());
    else await this.read();
  }

  /** Builds the list anew only where something has changed, so that nobody is interrupted while typing. */
  show(answer) {
    const text = JSON.stringify([answer, document.documentElement.lang, this.refused]);
    if (text === this.shown) return;
    this.shown = text;
    element("knobs-card").hidden = answer.knobs.length === 0;
    element("knobs-why").textContent = this.refused || (answer.allowed ? t("knobs_hint") : t("knobs_token"));
    element("knobs-why").classList.toggle("bad", Boolean(this.refused));
    element("knobs").replaceChildren(...answer.knobs.map((knob) => this.row(knob, answer.allowed)));
  }

  row(knob, allowed) {
    const label = document.createElement("label");
    const name = Object.assign(document.createElement("span"), { textContent: knob.key });
    const input = inputFor(knob);
    input.disabled = !allowed;
    input.dataset.knob = knob.key;
    input.onchange = () => this.turn(knob.key, valueOf(input, knob));
    label.append(name, input, Object.assign(document.createElement("small"), { textContent: knob.description }));
    return label;
  }
}

function inputFor(knob) {
  if (knob.enum) {
    const select = document.createElement("select");
    select.append(...knob.enum.map((choice) => new Option(choice, choice, false, choice === knob.value)));
    return select;
  }
  const input = document.createElement("input");
  if (knob.type === "boolean") return Object.assign(input, { type: "checkbox", checked: knob.value });
  if (knob.type === "string") return Object.assign(input, { type: "text", value: knob.value });
  const low = knob.minimum ?? knob.exclusiveMinimum;
  const high = knob.maximum ?? knob.exclusiveMaximum;
  Object.assign(input, { type: "number", step: knob.type === "integer" ? "1" : "any", value: knob.value ?? "" });
  if (low !== undefined) input.min = low;
  if (high !== undefined) input.max = high;
  return input;
}

function valueOf(input, knob) {
  if (input.type === "checkbox") return input.checked;
  if (input.type !== "number") return input.value;
  return input.value === "" ? (knob.type ? knob.value : null) : Number(input.value);
}
