// One tile: its images, its numbers, what the gate and the operator say.
import { by, make } from "./dom.js";
import { ask } from "./override.js";
import { get, on, store, tell } from "./store.js";
import { clock, DECISIONS, fixed, NAMES } from "./words.js";
import { viewer } from "./viewer.js";

const panel = by("tileview"), STEPS = 1000;
let made = null, tile = null, rev = null;

function build() {
  const canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": "Image of the tile" });
  const title = make("h2", { tabindex: "-1" }), info = make("div", { class: "info scroll" }), none = make("p", { class: "empty", hidden: true });
  const split = make("input", { type: "range", min: 0, max: STEPS, value: STEPS / 2, "aria-label": "Divider between recorded and restored" });
  const low = make("input", { type: "range", min: 0, max: STEPS, "aria-label": "Counts shown black" }), high = make("input", { type: "range", min: 0, max: STEPS, "aria-label": "Counts shown white" });
  const zoom = make("span", { class: "quiet" }), where = make("span", { class: "quiet" });
  const view = viewer(canvas, {
    split: (value) => { split.value = value * STEPS; },
    zoom: (k) => { zoom.textContent = `${fixed(100 * k * (devicePixelRatio || 1), 0)} %`; },
    at: (x, y) => { where.textContent = x >= 0 && y >= 0 ? `${x}, ${y}` : ""; },
  });
  split.addEventListener("input", () => view.split(split.value / STEPS));
  for (const slider of [low, high]) slider.addEventListener("change", () => tone());
  const button = (words, title, does) => make("button", { type: "button", title, onclick: does }, words);
  const splitter = make("label", { class: "split" }, "recorded", split, "restored");
  panel.replaceChildren(
    make("header", {}, make("a", { href: "#/map", title: "Back to the map (Esc)", "aria-label": "Back to the map" }, "‹ Map"), title, make("span", { class: "grow" }), where, zoom,
      button("Fit", "Whole tile (0)", () => view.fit()), button("1:1", "Full resolution (1)", () => view.full()), button("−", "Zoom out", () => view.zoom(1 / 1.5)), button("+", "Zoom in", () => view.zoom(1.5))),
    make("div", { class: "tilebody" }, make("div", { class: "viewer" }, make("div", { class: "stage" }, canvas, none),
      make("div", { class: "viewbar" }, splitter, make("label", { class: "tone" }, "black", low), make("label", { class: "tone" }, "white", high), button("Auto", "Contrast of this tile", () => auto()))), info));
  made = { canvas, title, info, none, split, splitter, low, high, view };
}

let span = [0, 255], about = null;
function auto() {
  const width = about.high - about.low;
  span = about.dtype === "uint8" ? [0, 255] : [about.low - width, about.high + width];
  made.low.value = ((about.low - span[0]) / (span[1] - span[0])) * STEPS;
  made.high.value = ((about.high - span[0]) / (span[1] - span[0])) * STEPS;
  tone();
}
function tone() {
  const at = (slider) => span[0] + (slider.value / STEPS) * (span[1] - span[0]);
  const low = at(made.low), high = Math.max(at(made.high), low + (span[1] - span[0]) / STEPS);
  made.view.grey(low, high);
}

export async function openTile(key) {
  if (!made) build();
  panel.hidden = false;
  const fresh = tile?.key !== key;
  try {
    tile = await get("tile", { key });
  } catch (error) {
    tile = null;
    made.title.textContent = key;
    made.none.hidden = false;
    made.none.textContent = error.message;
    made.info.replaceChildren();
    return;
  }
  const decided = `${tile.decision}/${tile.line}`;
  made.title.textContent = tile.tile ? `${tile.section_name} · ${tile.tile}` : tile.key;
  describe();
  if (!fresh && rev === decided) return;
  rev = decided;
  const { edge, views } = await get("image", { key });
  if (tile?.key !== key) return;
  about = [views.before, views.after].find((view) => view?.width) ?? null;
  made.none.hidden = about !== null;
  made.none.textContent = views.before?.trouble ?? views.after?.trouble ?? "The images of this tile are no longer where the log says.";
  made.splitter.hidden = !(views.before?.width && views.after?.width);
  made.view.show(key, views, edge, about ? [about.low, about.high] : [0, 255]);
  if (about) auto();
  if (fresh) made.title.focus({ preventScroll: true });
}

export function closeTile() {
  panel.hidden = true;
  tile = rev = null;
}

function describe() {
  const event = tile.event, decision = DECISIONS[tile.shown], numbers = make("dl", { class: "numbers" });
  const put = (name, value, kind = null) => value !== null && value !== undefined && value !== "" && numbers.append(make("dt", {}, name), make("dd", { class: kind }, String(value)));
  const number = (value, digits, unit = "") => (typeof value === "number" ? `${fixed(value, digits)}${unit}` : null);
  put("blur", number(event.sigma_px, 2, " px"));
  put("blur on the sample", number(event.sigma_nm, 1, " nm"));
  put("anisotropy", number(event.anisotropy, 3));
  put("direction", number(event.angle_deg, 0, "°"));
  put("noise", number(event.noise, 1, " counts"));
  put("expected after restoring", number(event.expected, 1, " dB"));
  put("beam", event.beam); put("field", event.field); put("grid", event.grid);
  put("stage", tile.w_nm !== null ? `${fixed(tile.x_nm / 1000, 1)}, ${fixed(tile.y_nm / 1000, 1)} µm` : null);
  put("size", event.width ? `${event.width} × ${event.height} ${event.mode ?? ""}` : null);
  put("pixel", number(event.pixel_nm, 2, " nm"));
  put("taken", event.taken); put("graded", clock(tile.time, true)); put("latency", number(event.latency_s, 2, " s"));
  const word = tile.word, verdicts = { keep: "Keep", restore: "Restore", retake: "Retake" };
  made.info.replaceChildren(
    make("p", {}, make("span", { class: "chip", of: decision }, make("b", {}, NAMES[decision])), tile.current ? "" : make("span", { class: "quiet" }, " · imaged again since")),
    make("p", { class: "quiet" }, event.error ?? event.reason ?? ""),
    make("div", { class: "verdicts", role: "group", "aria-label": "Your verdict" }, ...Object.entries(verdicts).map(([verdict, words]) =>
      make("button", { type: "button", "aria-pressed": String(word?.verdict === verdict), onclick: () => ask(tile.key, verdict) }, words, make("kbd", {}, { keep: "k", restore: "r", retake: "t" }[verdict])))),
    word ? make("div", { class: "said" }, make("b", {}, `${word.verdict}`), ` by ${word.by}, ${clock(word.time, true)}`, word.note ? make("p", {}, `“${word.note}”`) : "") : "",
    numbers, make("p", { class: "quiet long" }, tile.key));
}

export const viewing = () => (panel.hidden ? null : { tile, view: made.view });
export const keyShown = () => (panel.hidden ? null : tile?.key ?? null);
on("said", (said) => { if (tile && said.key === tile.key) { tile = said; describe(); tell("live"); } });
on("changed", () => { if (!panel.hidden && tile && store.sections.get(tile.section)?.rev > tile.rev) openTile(tile.key).catch(() => {}); });
