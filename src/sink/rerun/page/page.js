// Rerun's viewer, fed by depthcast over one stream. The viewer gets one cloud for each animation
// frame, and only then the server sends the next one, the newest. So what waits anywhere is bounded
// by clouds, not by megabytes. When a cloud was on the screen is told too.
"use strict";

// Of Rerun's RRD format.
const RRD_END = new Uint8Array(16);
const RRD_MESSAGE_HEADER_BYTES = 16;
// Of the stream: see `page/mod.rs`.
const RECORD_HEADER_BYTES = 24;
// The timeline that numbers clouds in the order in which they are sent.
const CLOUDS = "cloud";
const CHANNEL = "depthcast";
const RETRY_MS = 500;
const CLOCK_EVERY_MS = 5000;
// The last exchanges with the host's clock, of which the shortest counts.
const EXCHANGES = 12;
// By so many animation frames the page learns how long it takes without a cloud.
const OWN_FRAMES = 5;
// A cloud that has waited longer, for a page that did nothing, is not worth showing.
const STALE_MS = 1000;
const STALE_FRAMES = 3;
// Of animation frames from this length on, some browsers tell when they were on the screen, after so
// long at most.
const LONG_FRAME_MS = 50;
const PRESENTED_MS = 5000;
const tellsPresentation =
  "presentationTime" in (window.PerformanceLongAnimationFrameTiming?.prototype ?? {});
// So many messages that the viewer was given are told without a cloud.
const TELL_GIVEN = 8;
// Without a cloud for so long, the page says so.
const SILENCE_MS = 3000;
const ENDED = "Ended; the last cloud stays";
// What this page needs of Rerun's viewer, whose interface is not promised.
const VIEWER_API = [
  "open_channel",
  "send_rrd_to_channel",
  "get_active_recording_id",
  "get_active_timeline",
  "get_time_for_timeline",
  "get_timeline_time_range",
];

const params = new URLSearchParams(location.search);
const token = params.get("token");
const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function ask(path, body) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const request = { headers, cache: "no-store" };
  if (body !== undefined) Object.assign(request, { method: "POST", body: JSON.stringify(body) });
  return fetch(path, request);
}

function show(text, isNote = true) {
  const state = byId("state");
  if (state.textContent === text) return;
  state.textContent = text;
  state.classList.toggle("note", isNote);
}

// Takes a stream apart into records.
class Records {
  constructor(body) {
    Object.assign(this, { reader: body.getReader(), chunks: [], bytes: 0 });
  }

  // The next so many bytes, or null at the end of the stream.
  async take(count) {
    while (this.bytes < count) {
      const { done, value } = await this.reader.read();
      if (done) return null;
      this.chunks.push(value);
      this.bytes += value.length;
    }
    this.bytes -= count;
    const taken = new Uint8Array(count);
    for (let at = 0; at < count; ) {
      const part = this.chunks[0].subarray(0, count - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === this.chunks[0].length) this.chunks.shift();
      else this.chunks[0] = this.chunks[0].subarray(part.length);
    }
    return taken;
  }

  // The next record, or null at the end.
  async next() {
    const header = await this.take(RECORD_HEADER_BYTES);
    if (header === null) return null;
    const view = new DataView(header.buffer);
    const [cloud, sent_ns, length] = [0, 8, 16].map((at) => Number(view.getBigUint64(at)));
    const message = await this.take(length);
    return message && { cloud, sent_ms: sent_ns / 1e6, message };
  }
}

// The field that starts at `at` of a protocol buffer, whose content has a length.
function field(bytes, at) {
  const number = bytes[at++] >> 3;
  let length = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[at++];
    length += (byte & 127) * shift;
    if (byte < 128) return { number, start: at, end: at + length };
  }
}

// A message as a whole RRD stream. The numbers of the fields of Rerun's `LogMsg` are the kinds of
// messages in such a stream.
function rrd(header, grpc) {
  const GRPC_HEADER_BYTES = 5;
  const log_msg = field(grpc, GRPC_HEADER_BYTES);
  const content = field(grpc, log_msg.start);
  const start = header.length + RRD_MESSAGE_HEADER_BYTES;
  const length = content.end - content.start;
  const stream = new Uint8Array(start + length + RRD_END.length);
  stream.set(header);
  const view = new DataView(stream.buffer);
  view.setBigUint64(header.length, BigInt(content.number), true);
  view.setBigUint64(header.length + 8, BigInt(length), true);
  stream.set(grpc.subarray(content.start, content.end), start);
  return stream;
}

// The host's clock as this page knows it, from exchanges like those of NTP (RFC 5905): the one that
// took the least time is the best. Its times are those of the browser's network stack, which does
// not wait for the page to be drawn.
class HostClock {
  constructor() {
    Object.assign(this, { exchanges: [], ended: false });
  }

  async run() {
    for (;;) {
      await this.exchange().catch(() => {});
      await sleep(this.exchanges.length < 5 ? 200 : CLOCK_EVERY_MS);
    }
  }

  async exchange() {
    const path = `clock?${performance.now()}`;
    const { now_ms, ended } = await (await ask(path, {})).json();
    this.ended = ended;
    const [timing] = performance.getEntriesByName(new URL(path, location.href).href);
    performance.clearResourceTimings();
    if (!timing || timing.requestStart === 0) return;
    const offset_ms = now_ms - (timing.requestStart + timing.responseStart) / 2;
    const uncertainty_ms = (timing.responseStart - timing.requestStart) / 2;
    this.exchanges.push({ offset_ms, uncertainty_ms });
    if (this.exchanges.length > EXCHANGES) this.exchanges.shift();
  }

  get best() {
    const shorter = (a, b) => (a && a.uncertainty_ms <= b.uncertainty_ms ? a : b);
    return this.exchanges.reduce(shorter, null);
  }

  // Of an earlier run.
  forget() {
    this.exchanges = [];
  }

  get now_ms() {
    return this.best && performance.now() + this.best.offset_ms;
  }
}

// Gives the viewer what came, and tells the server what the viewer has read and drawn.
class Eye {
  constructor(viewer, clock, canvas) {
    Object.assign(this, { viewer, clock, canvas, page: null, frame_ms: 0, last: null });
    this.start(null, null, false);
    this.tick = this.tick.bind(this);
    requestAnimationFrame(this.tick);
  }

  // For a new connection.
  start(page, header, lossless) {
    Object.assign(this, { page, header, lossless, waiting: [], own_ms: [] });
    this.cloud_at = performance.now();
    // The last cloud that the viewer was given or that was passed over, that the viewer has read,
    // and that was on the screen; messages that the viewer was given; animation frames that may not
    // be on the screen yet.
    Object.assign(this, { cloud: 0, given_cloud: 0, read: 0, drawn: 0, drawn_at: null });
    Object.assign(this, { given: 0, frames: [] });
    this.told = { given: 0, cloud: 0, drawn: 0 };
  }

  // Clouds wait for the next animation frame, so that the viewer draws them at once.
  take(record) {
    if (record.cloud === 0) this.give(record);
    else this.waiting.push(record);
  }

  give({ message }) {
    this.viewer.send_rrd_to_channel(CHANNEL, rrd(this.header, message));
    this.given++;
  }

  tick(now) {
    requestAnimationFrame(this.tick);
    this.frame_ms = now - (this.last ?? now);
    this.last = now;
    this.tick_at_before = this.tick_at;
    this.tick_at = performance.now();
    if (this.page === null) return;
    // Clouds come once the server knows how long the page takes without one.
    if (this.own_ms.length < OWN_FRAMES) return this.learn();
    this.lookAtLastFrame();
    this.giveClouds();
    this.tell();
    const silence = now - this.cloud_at > Math.max(SILENCE_MS, STALE_FRAMES * this.frame_ms);
    show(silence ? (this.clock.ended ? ENDED : "No frames come") : "");
  }

  // The viewer reads at the start of an animation frame and draws what it has read in that frame.
  lookAtLastFrame() {
    for (const frame of this.frames) frame.next_at ??= this.tick_at;
    const read = this.newest();
    if (read > this.read) {
      const { tick_at_before: at, frame_ms: ms, follows } = this;
      this.frames.push({ cloud: read, at, ms, follows });
    }
    this.read = read;
    // Of short frames the browser does not tell, and some browsers never do.
    const is_told = ({ ms }) => tellsPresentation && ms >= LONG_FRAME_MS;
    const waits = ({ at }) => this.tick_at - at < PRESENTED_MS;
    const done = this.frames.filter((frame) => frame.next_at && !(is_told(frame) && waits(frame)));
    if (done.length > 0) this.presented(done.at(-1), done.at(-1).next_at);
  }

  // Takes what the browser tells of an animation frame: when it started and was on the screen.
  takeTiming({ renderStart, presentationTime }) {
    const frame = this.frames.filter(({ at }) => at <= renderStart + 1).at(-1);
    if (frame) this.presented(frame, presentationTime);
    this.tell();
  }

  // This one and those before it.
  presented(frame, at) {
    this.frames = this.frames.filter((other) => other.cloud > frame.cloud);
    Object.assign(this, { drawn: frame.cloud, drawn_at: frame.follows ? at : null });
  }

  giveClouds() {
    // The viewer is behind.
    if (this.read < this.given_cloud && !this.lossless) return;
    const stale_ms = Math.max(STALE_MS, STALE_FRAMES * this.frame_ms);
    const is_stale = ({ sent_ms }) => !this.lossless && this.clock.now_ms - sent_ms > stale_ms;
    for (const record of this.waiting.splice(0)) {
      if (is_stale(record)) {
        this.given++;
      } else {
        this.give(record);
        this.given_cloud = record.cloud;
      }
      this.cloud = record.cloud;
      this.cloud_at = performance.now();
    }
  }

  // The number of the last cloud that the viewer has read.
  newest() {
    const recording = this.viewer.get_active_recording_id();
    const range = recording && this.viewer.get_timeline_time_range(recording, CLOUDS);
    return range ? Number(range.max) : 0;
  }

  // Whether the viewer shows the newest cloud, and not one that somebody has gone back to.
  get follows() {
    const recording = this.viewer.get_active_recording_id();
    const timeline = recording && this.viewer.get_active_timeline(recording);
    if (!timeline) return false;
    const { max } = this.viewer.get_timeline_time_range(recording, timeline) ?? {};
    return this.viewer.get_time_for_timeline(recording, timeline) >= max;
  }

  learn() {
    this.own_ms.push(this.frame_ms);
    // The viewer draws only when something happens.
    const move = { clientX: this.own_ms.length, clientY: 1, bubbles: true };
    this.canvas.dispatchEvent(new PointerEvent("pointermove", move));
    this.canvas.dispatchEvent(new MouseEvent("mousemove", move));
    if (this.own_ms.length === OWN_FRAMES) {
      // The first one is what the page did before.
      const sorted = this.own_ms.slice(1).sort((a, b) => a - b);
      this.frame_ms = sorted[sorted.length >> 1];
      this.told.cloud = -1;
      this.tell();
    }
  }

  async tell() {
    const { page, given, cloud, drawn, frame_ms, told } = this;
    if (cloud === told.cloud && drawn === told.drawn && given - told.given < TELL_GIVEN) return;
    const best = this.clock.best;
    const is_timed = drawn > told.drawn && best && this.drawn_at !== null;
    const at_ms = is_timed ? this.drawn_at + best.offset_ms : null;
    const uncertainty_ms = best && best.uncertainty_ms;
    this.told = { given, cloud, drawn };
    const said = { page, given, cloud, drawn, at_ms, uncertainty_ms, frame_ms };
    const answer = await ask("seen", said).catch(() => null);
    if (!answer?.ok) return;
    const { max_points } = await answer.json();
    const points = byId("points");
    points.hidden = max_points === null;
    points.textContent = `${max_points} points: what this browser draws quickly`;
  }
}

// Feeds the viewer until the run has ended. Returns whether it has.
async function feed(eye, clock) {
  const answer = await ask("stream");
  if (answer.status === 403) {
    show(await answer.text(), false);
    return false;
  }
  if (!answer.ok) throw new Error(answer.statusText);
  clock.forget();
  const records = new Records(answer.body);
  const { message: header } = await records.next();
  const [page, lossless] = ["page", "lossless"].map((n) => answer.headers.get(`depthcast-${n}`));
  eye.start(Number(page), header, lossless === "true");
  show("");
  for (let record; (record = await records.next()); ) {
    // An empty record is the end of the run.
    if (record.message.length === 0) {
      while (eye.waiting.length > 0) await sleep(50);
      eye.page = null;
      return true;
    }
    eye.take(record);
    // Nothing is drawn while nobody looks, and what is not drawn piles up in the viewer.
    while (document.hidden) await sleep(100);
  }
  throw new Error("the stream has broken off");
}

function help() {
  const table = byId("help");
  const toggle = () => (table.hidden = !table.hidden);
  byId("help-button").addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => event.key === "?" && toggle());
}

async function main() {
  help();
  await wasm_bindgen({ module_or_path: fetch("re_viewer_bg.wasm") });
  const missing = VIEWER_API.filter((name) => !(name in wasm_bindgen.WebHandle.prototype));
  if (missing.length > 0) throw new Error(`Rerun's viewer lacks ${missing.join(", ")}`);
  const viewer = new wasm_bindgen.WebHandle({
    url: [],
    hide_welcome_screen: true,
    enable_history: false,
    notebook: false,
    persist: false,
    theme: params.get("theme"),
    render_backend: params.get("renderer"),
  });
  const canvas = byId("viewer");
  const clock = new HostClock();
  const eye = new Eye(viewer, clock, canvas);
  await viewer.start(canvas);
  viewer.open_channel(CHANNEL, CHANNEL);
  if (tellsPresentation) {
    const told = (list) => list.getEntries().forEach((entry) => eye.takeTiming(entry));
    new PerformanceObserver(told).observe({ type: "long-animation-frame" });
  }
  clock.run();
  window.depthcast = { eye, clock };
  for (;;) {
    try {
      if (await feed(eye, clock)) break;
    } catch (error) {
      console.debug(error);
      show("The connection to depthcast is lost. Trying again.");
    }
    eye.page = null;
    await sleep(RETRY_MS);
  }
  show(ENDED);
}

main().catch((error) => show(`The viewer cannot be started: ${error}`, false));
