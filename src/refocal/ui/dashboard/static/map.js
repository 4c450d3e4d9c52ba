// The section map: thousands of tiles on a canvas, coloured by their grade. Small tiles are written pixel by pixel.
import { arrange, neighbour } from "./arrange.js";
import { palette, ramp, rampCss, rampStep, repaint } from "./colours.js";
import { by, make, segmented, sized, soon } from "./dom.js";
import { facts } from "./facts.js";
import { navigate } from "./pan.js";
import { COLUMN, keyOf, on, store, tell } from "./store.js";
import { DECISIONS, fixed, NAMES } from "./words.js";

const WAYS = { sigma_px: "Blur", shown: "Decision", anisotropy: "Anisotropy", noise: "Noise" };
const FINE = 4;  // below so many pixels a tile is written into the raster
const TROUBLE = [false, false, false, true, false, true, true];
const canvas = by("map"), context = canvas.getContext("2d");
let way = "sigma_px", sections = [], scale = [0, 4], hovered = null;
const view = navigate(canvas, () => soon("map", draw));

function rescale() {
  const values = [];
  for (const section of sections) for (const tile of section.tiles) { const v = tile.row[COLUMN[way]]; if (v !== null) values.push(v); }
  if (way === "shown" || !values.length) return;
  values.sort((a, b) => a - b);
  const high = values[Math.floor(0.97 * (values.length - 1))], low = way === "noise" ? values[Math.floor(0.01 * values.length)] : 0;
  const steps = [0.1, 0.2, 0.3, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64];
  scale = [way === "noise" ? Math.floor(low) : 0, steps.find((step) => step >= high) ?? high];
  if (way === "noise") scale[1] = Math.max(Math.ceil(high), scale[0] + 1);
}

const colourOf = (row, colours) => {
  if (way === "shown") return colours.decisions[row[COLUMN.shown]];
  const value = row[COLUMN[way]];
  return value === null ? colours.none : ramp[rampStep(value, scale[0], scale[1])];
};

function draw() {
  const [width, height] = sized(canvas, context), colours = palette();
  context.fillStyle = colours.well;
  context.fillRect(0, 0, width, height);
  if (view.fitted && sections.length && width) fit(false);
  const [k, ox, oy] = [view.k, view.x, view.y];
  const small = (section) => section.tiles[0].w * k < FINE;
  if (sections.some(small)) raster(sections.filter(small), colours, k, ox, oy);
  for (const section of sections) {
    if (!small(section)) squares(section.tiles, colours, k, ox, oy, width, height);
    label(section, colours, k, ox, oy);
  }
  for (const [tile, thick] of [[hovered, 1.5], [at(), 2.5]]) {
    if (!tile) continue;
    context.strokeStyle = "#fff"; context.lineWidth = thick + 2;
    outline(tile, k, ox, oy);
    context.strokeStyle = "#d4006a"; context.lineWidth = thick;
    outline(tile, k, ox, oy);
  }
}

function outline(tile, k, ox, oy) {
  context.strokeRect(tile.x * k + ox - 1, tile.y * k + oy - 1, Math.max(4, tile.w * k + 1), Math.max(4, tile.h * k + 1));
}

function label(section, colours, k, ox, oy) {
  if (section.w * k < 30) return;
  context.font = "600 12px system-ui, sans-serif"; context.fillStyle = colours.quiet; context.textAlign = "left";
  context.fillText(section.name, section.x * k + ox, section.y * k + oy - 6);
}

function squares(tiles, colours, k, ox, oy, width, height) {
  const marks = tiles[0].w * k > 7;
  for (const tile of tiles) {
    const x = tile.x * k + ox, y = tile.y * k + oy, w = tile.w * k, h = tile.h * k, row = tile.row;
    if (x > width || y > height || x + w < 0 || y + h < 0) continue;
    const gap = w > 10 ? 1 : 0.5, decision = row[COLUMN.shown];
    context.fillStyle = colourOf(row, colours);
    context.fillRect(x + gap / 2, y + gap / 2, w - gap, h - gap);
    if (way === "shown" && row[COLUMN.override] === null) continue;
    if (marks) mark(row, decision, x, y, w, h, colours);
    else if (TROUBLE[decision] && way !== "shown") { context.fillStyle = colours.retake; context.fillRect(x + w / 4, y + h / 4, w / 2, h / 2); }
  }
}

// A cross for what must be taken again, a ring for restored, a dot for queued; a corner where the operator spoke.
function mark(row, decision, x, y, w, h, colours) {
  const cx = x + w / 2, cy = y + h / 2, r = Math.min(w, h) * 0.24, line = Math.max(1.2, Math.min(3, r / 3));
  if (way !== "shown") {
    context.lineWidth = line;
    if (TROUBLE[decision]) {
      context.beginPath(); context.moveTo(cx - r, cy - r); context.lineTo(cx + r, cy + r); context.moveTo(cx + r, cy - r); context.lineTo(cx - r, cy + r);
      context.lineWidth = line + 2; context.strokeStyle = "#fff"; context.stroke();
      context.lineWidth = line; context.strokeStyle = "#c43a00"; context.stroke();
    } else if (decision === 0 && w > 9) {
      context.strokeStyle = "#ffffffd0"; context.beginPath(); context.arc(cx, cy, r * 0.8, 0, 7); context.stroke();
    } else if (decision === 2 && w > 9) {
      context.fillStyle = "#ffffffd0"; context.beginPath(); context.arc(cx, cy, Math.max(1, r * 0.35), 0, 7); context.fill();
    }
  }
  if (row[COLUMN.override] !== null) {
    context.fillStyle = "#d4006a"; context.beginPath();
    const e = Math.max(4, w * 0.3);
    context.moveTo(x + w, y); context.lineTo(x + w - e, y); context.lineTo(x + w, y + e); context.fill();
  }
}

const packed = new Map();
function pack(colour) {
  if (!packed.has(colour)) {
    const probe = new OffscreenCanvas(1, 1).getContext("2d");
    probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1);
    packed.set(colour, new Uint32Array(probe.getImageData(0, 0, 1, 1).data.buffer)[0]);
  }
  return packed.get(colour);
}

function raster(fine, colours, k, ox, oy) {
  const sharp = devicePixelRatio || 1, width = canvas.width, height = canvas.height;
  const image = new ImageData(width, height), words = new Uint32Array(image.data.buffer);
  words.fill(pack(colours.well));
  for (const last of [false, true]) {  // what needs somebody is never hidden below its neighbours
    for (const section of fine) for (const tile of section.tiles) {
      const trouble = TROUBLE[tile.row[COLUMN.shown]];
      if (trouble !== last) continue;
      const left = Math.round((tile.x * k + ox) * sharp), top = Math.round((tile.y * k + oy) * sharp);
      const w = Math.max(1, Math.round(tile.w * k * sharp)), h = Math.max(1, Math.round(tile.h * k * sharp));
      const word = pack(trouble ? colours.decisions[tile.row[COLUMN.shown]] : colourOf(tile.row, colours));
      for (let y = Math.max(0, top); y < Math.min(height, top + h); y++) {
        for (let x = Math.max(0, left); x < Math.min(width, left + w); x++) words[y * width + x] = word;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

function hit(px, py) {
  const x = (px - view.x) / view.k, y = (py - view.y) / view.k;
  let found = null;
  for (const section of sections) {
    if (x < section.x || y < section.y || x > section.x + section.w || y > section.y + section.h) continue;
    for (const tile of section.tiles) if (x >= tile.x && y >= tile.y && x < tile.x + tile.w && y < tile.y + tile.h) found = tile;
  }
  return found;
}

const at = () => (store.at === null ? null : find(store.at[COLUMN.id]));
function find(id) {
  for (const section of sections) for (const tile of section.tiles) if (tile.row[COLUMN.id] === id) return tile;
  return null;
}

export function select(tile) {
  store.at = tile?.row ?? null;
  if (tile) {
    const x = (tile.x + tile.w / 2) * view.k + view.x, y = (tile.y + tile.h / 2) * view.k + view.y;
    if (x < 0 || y < 0 || x > canvas.clientWidth || y > canvas.clientHeight) view.move(canvas.clientWidth / 2 - x, canvas.clientHeight / 2 - y);
  }
  facts(store.at);
  soon("map", draw);
}

export async function open(row = store.at) {
  if (row) location.hash = `#/tile/${encodeURIComponent(await keyOf(row))}`;
}

export function step(dx, dy) {
  const from = at() ?? null;
  const next = from ? neighbour(sections, from, dx, dy) : sections[0]?.tiles[0];
  if (next) select(next);
  return next ?? null;
}

export function selectRow(id) {
  const tile = find(id);
  if (tile) select(tile);
}

function fit(redraw = true) {
  if (!sections.length) return;
  const x = Math.min(...sections.map((s) => s.x)), y = Math.min(...sections.map((s) => s.y));
  view.fit(x, y, Math.max(...sections.map((s) => s.x + s.w)) - x, Math.max(...sections.map((s) => s.y + s.h)) - y, canvas, 28);
  if (redraw) soon("map", draw);
}

function legend() {
  const place = by("legend");
  if (way === "shown") {
    place.replaceChildren(...DECISIONS.map((name) => make("span", { class: "chip", of: name }, NAMES[name])));
    return;
  }
  const digits = scale[1] < 1 ? 1 : 0, unit = { sigma_px: " px", noise: " counts" }[way] ?? "", bar = make("span", { class: "ramp" });
  bar.style.background = rampCss;
  place.replaceChildren(make("span", {}, fixed(scale[0], 0)), bar, make("span", {}, `${fixed(scale[1], digits)}${unit}`),
    make("span", { title: "retake, unreadable or failed" }, "✕ retake"), make("span", {}, "○ restored"), make("span", {}, "• queued"));
}

let building = null;
function rebuild() {
  building = null;
  sections = arrange();
  rescale();
  legend();
  const none = by("nomap");
  none.hidden = sections.length > 0;
  none.textContent = store.news?.progress.more ? "The log is being read; tiles appear as they are found." : "No tiles yet. They appear here as they are graded.";
  soon("map", draw);
}
const later = (wait) => { building ??= setTimeout(rebuild, wait); };

on("tiles", () => later(sections.length ? 250 : 0));
on("changed", () => { if (!sections.length) later(0); });
on("shown", () => { view.fitted = true; select(null); later(0); });
repaint.addEventListener("theme", () => { packed.clear(); soon("map", draw); });
new ResizeObserver(() => soon("map", draw)).observe(canvas);

segmented(by("colourby"), "colourby", WAYS, way, (key) => { way = key; rescale(); legend(); soon("map", draw); });
canvas.addEventListener("pointermove", (event) => {
  if (event.buttons || event.pointerType === "touch") return;
  const found = hit(event.offsetX, event.offsetY);
  if (found !== hovered) { hovered = found; facts(found?.row ?? store.at, found !== null); soon("map", draw); }
});
canvas.addEventListener("pointerleave", () => { hovered = null; facts(store.at); soon("map", draw); });
view.onclick = (x, y) => { const found = hit(x, y); select(found); tell("selected", found); };
canvas.addEventListener("dblclick", () => open());
by("zoomin").addEventListener("click", () => zoom(1.5));
by("zoomout").addEventListener("click", () => zoom(1 / 1.5));
by("fit").addEventListener("click", () => fit());

// Zoom about the chosen tile, else about the middle; without a factor, show everything.
export function zoom(factor) {
  if (!factor) return fit();
  const tile = at();
  view.zoom(factor, ...(tile ? [(tile.x + tile.w / 2) * view.k + view.x, (tile.y + tile.h / 2) * view.k + view.y] : []));
}
