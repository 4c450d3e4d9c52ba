// The beams as they lie beside each other: mean blur, mean anisotropy or retakes of each.
import { by, make, segmented, soon, svg } from "./dom.js";
import { ramp, rampCss, rampStep, repaint } from "./colours.js";
import { get, on, store } from "./store.js";
import { count, fixed, percent } from "./words.js";

const WAYS = { sigma_px: "Blur", anisotropy: "Anisotropy", retakes: "Retakes" };
let way = "sigma_px", beams = [], at = null;
const value = (beam) => (way === "retakes" ? beam.retakes / beam.tiles : beam[way]);
const said = (number) => (way === "retakes" ? percent(number) : way === "sigma_px" ? `${fixed(number)} px` : fixed(number, 3));

// Beam 1 is in the middle, the others follow ring by ring.
export function places(most) {
  const steps = [120, 180, 240, 300, 0, 60].map((angle) => [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)]);
  const made = [[0, 0]];
  for (let ring = 1; made.length < most; ring++) {
    let [x, y] = [ring, 0];
    for (const [dx, dy] of steps) for (let i = 0; i < ring; i++) { made.push([x, y]); x += dx; y += dy; }
  }
  return made;
}

function draw() {
  const place = by("beams");
  by("beampanel").hidden = !beams.length;
  if (!beams.length) return;
  const known = beams.map(value).filter((v) => v !== null && Number.isFinite(v)).sort((a, b) => a - b);
  const low = known[0] ?? 0, high = Math.max(known.at(-1) ?? 1, low + (way === "retakes" ? 0.02 : 0.05));
  const hexagonal = Math.max(...beams.map((b) => b.beam)) <= 217 && Math.min(...beams.map((b) => b.beam)) >= 0;
  const first = beams.some((b) => b.beam === 0) ? 0 : 1;
  const where = hexagonal ? places(Math.max(...beams.map((b) => b.beam)) + 1 - first) : null;
  const middle = known[Math.floor(known.length / 2)];
  const drawn = beams.map((beam, i) => {
    const [x, y] = where ? where[beam.beam - first] : [i % 12, Math.floor(i / 12)];
    const corners = [30, 90, 150, 210, 270, 330].map((a) => `${(x + 0.577 * Math.cos((a * Math.PI) / 180)).toFixed(3)} ${(-y + 0.577 * Math.sin((a * Math.PI) / 180)).toFixed(3)}`);
    const found = value(beam);
    const path = svg("path", { d: `M${corners.join("L")}Z`, fill: found === null ? "#8885" : ramp[rampStep(found, low, high)], class: beam.beam === at ? "at" : "" });
    path.addEventListener("pointerenter", () => { at = beam.beam; say(); mark(path); });
    path.addEventListener("click", () => { at = beam.beam; say(); mark(path); });
    return [x, -y, path];
  });
  const edge = (axis, most) => Math[most](...drawn.map((d) => d[axis])), pad = 0.7;
  const chart = svg("svg", { viewBox: `${edge(0, "min") - pad} ${edge(1, "min") - pad} ${edge(0, "max") - edge(0, "min") + 2 * pad} ${edge(1, "max") - edge(1, "min") + 2 * pad}`, role: "img" });
  const worst = [...beams].filter((b) => value(b) !== null).sort((a, b) => value(b) - value(a)).slice(0, 2);
  chart.setAttribute("aria-label", `${WAYS[way]} of ${beams.length} beams, median ${said(middle)}; highest ${worst.map((b) => `beam ${b.beam} ${said(value(b))}`).join(", ")}`);
  chart.append(...drawn.map((d) => d[2]));
  const scale = make("div", { class: "ramp" });
  scale.style.background = rampCss;
  const words = make("p", { class: "say", "aria-live": "polite" });
  place.replaceChildren(chart, words, scale, make("div", { class: "ends" }, make("span", {}, said(low)), make("span", {}, `median ${said(middle)}`), make("span", {}, said(high))));
  function say() {
    const beam = beams.find((b) => b.beam === at);
    words.replaceChildren(...(beam
      ? [make("span", {}, make("b", {}, `Beam ${beam.beam}`), ` ${said(value(beam))}`), make("span", {}, `${count(beam.tiles)} tiles, ${count(beam.retakes)} retakes`)]
      : [make("span", {}, "Highest: ", make("b", {}, worst.map((b) => `${b.beam} (${said(value(b))})`).join(", ")))]));
  }
  function mark(path) {
    for (const other of chart.querySelectorAll(".at")) other.classList.remove("at");
    path.classList.add("at");
    chart.append(path);
  }
  chart.addEventListener("pointerleave", () => { at = null; say(); });
  say();
}

async function refresh() {
  beams = await get("beams", { sections: [...store.shown].join(",") });
  soon("beams", draw);
}

segmented(by("beamby"), "beamby", WAYS, way, (key) => { way = key; draw(); });
let timer = null;
on("changed", () => { timer ??= setTimeout(() => { timer = null; refresh().catch(() => {}); }, beams.length ? 2000 : 0); });
on("shown", () => refresh().catch(() => {}));
repaint.addEventListener("theme", draw);
