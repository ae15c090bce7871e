// A worker: takes messages apart (depthd/web/encode.py) off the page's own thread.

import { unpack } from "./codec.js";

/** Pictures are decoded by the browser on threads of its own, while this one unpacks the planes. */
function decodePart(part, bytes) {
  const size = { width: part.width, height: part.height };
  if (part.kind === "picture") {
    return createImageBitmap(new Blob([bytes])).then((bitmap) => ({ ...size, bitmap }));
  }
  if (part.kind === "float32") return { ...size, numbers: new Float32Array(bytes.slice().buffer) };
  return { ...size, codes: unpack(bytes, part.width * part.height) };
}

export async function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const pictureFirst = [...header.parts].sort((a, b) => (b.kind === "picture") - (a.kind === "picture"));
  const decoded = await Promise.all(
    pictureFirst.map(async (part) => [part.name, await decodePart(part, new Uint8Array(buffer, 4 + length + part.offset, part.length))]),
  );
  const planes = Object.fromEntries(decoded);
  if (planes.stereo) takeFromBeside(planes.stereo.codes, planes.depth.codes);
  return { header, planes };
}

/** The kind `beside`: 0 where a pixel is that of fused depth, else its own code + 1. */
function takeFromBeside(codes, depth) {
  for (let i = 0; i < codes.length; i++) codes[i] = codes[i] === 0 ? depth[i] : codes[i] - 1;
}

self.onmessage = async ({ data }) => {
  const begin = performance.now();
  try {
    const frame = await decode(data);
    frame.decodeMs = performance.now() - begin;
    const transfer = Object.values(frame.planes).map((p) => p.bitmap ?? (p.codes ?? p.numbers).buffer);
    self.postMessage(frame, transfer);
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
