// The connection to `depthd view`: asks for parts, acknowledges what was drawn, comes back after every interruption.

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 2000;
const PING_MS = 2000;
const HIDDEN_MS = 500;

export class Stream {
  /** onFrame(frame) gets decoded frames, onStatus({state, detail}) how the daemon and the connection are. */
  constructor(onFrame, onStatus) {
    this.onFrame = onFrame;
    this.onStatus = onStatus;
    this.parts = [];
    this.holding = false;
    this.retryMs = FIRST_RETRY_MS;
    this.clockOffsetNs = null;
    this.bestRoundTripMs = Infinity;
    this.connections = 0;
    this.next = null;
    this.worker = new Worker(new URL("./decoder.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.decoded(data);
    setInterval(() => this.ping(), PING_MS);
    this.connect();
  }

  connect() {
    const url = new URL("stream", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = "";
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.opened();
    this.socket.onmessage = ({ data }) => this.received(data);
    this.socket.onclose = () => this.closed();
  }

  opened() {
    this.connections++;
    this.retryMs = FIRST_RETRY_MS;
    this.bestRoundTripMs = Infinity;
    this.send({ type: "want", parts: this.parts });
    if (this.holding) this.send({ type: "hold" });
    this.ping();
  }

  closed() {
    this.onStatus({ state: "disconnected", detail: "" });
    setTimeout(() => this.connect(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  received(data) {
    if (data instanceof ArrayBuffer) {
      this.worker.postMessage(data, [data]);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "status") this.onStatus(message);
    if (message.type === "pong") this.synchronise(message);
  }

  decoded(frame) {
    if (frame.error) {
      console.error(frame.error);
      this.send({ type: "ack" });
      return;
    }
    // The next frame may come while this one is drawn; of frames between two of the screen's, only the last is drawn.
    const waiting = this.next;
    this.next = frame;
    if (document.hidden) {
      // Hidden pages get no animation frames, and need none; but they must not hold the stream up for ever.
      setTimeout(() => this.acknowledge(frame), HIDDEN_MS);
      if (!waiting) setTimeout(() => this.draw(), HIDDEN_MS);
      return;
    }
    this.acknowledge(frame);
    if (!waiting) requestAnimationFrame(() => this.draw());
  }

  acknowledge(frame) {
    this.send({ type: "ack", id: frame.header.id });
  }

  draw() {
    const frame = this.next;
    this.next = null;
    this.heldId = frame.header.held ? frame.header.id : null;
    this.onFrame(frame);
  }

  want(parts) {
    const sorted = [...new Set(parts)].sort();
    if (sorted.join() === this.parts.join()) return;
    this.parts = sorted;
    this.send({ type: "want", parts: sorted });
    // A held page asks for the missing parts of the same frame.
    if (this.holding) this.send({ type: "hold", id: this.heldId ?? 0 });
  }

  hold() {
    this.holding = true;
    this.send({ type: "hold" });
  }

  go() {
    this.holding = false;
    this.send({ type: "go" });
  }

  ping() {
    this.send({ type: "ping", sent_ms: performance.now() });
  }

  /** The writer's clock against the page's, from the fastest round trip (Cristian, 1989). */
  synchronise({ sent_ms, monotonic_ns }) {
    const now = performance.now();
    const roundTripMs = now - sent_ms;
    if (roundTripMs > this.bestRoundTripMs * 1.5) return;
    this.bestRoundTripMs = Math.min(this.bestRoundTripMs, roundTripMs);
    this.clockOffsetNs = monotonic_ns - ((sent_ms + now) / 2) * 1e6;
  }

  /** Milliseconds since a CLOCK_MONOTONIC time of the robot; null before the clocks are compared. */
  ageMs(ns) {
    return this.clockOffsetNs === null ? null : (performance.now() * 1e6 + this.clockOffsetNs - ns) / 1e6;
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
