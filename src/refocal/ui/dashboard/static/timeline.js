// Four small plots over time: blur, retakes, throughput, lag. One cursor for all.
import { by, make, sized, soon } from "./dom.js";
import { palette, repaint } from "./colours.js";
import { get, on, store } from "./store.js";
import { clock, count, fixed, percent, RETAKE_LINE } from "./words.js";

const LEFT = 36, BOTTOM = 14, TOP = 6;
let data = null, cursor = null;
const plots = [
  { name: "mean blur", unit: "px", from: (d) => d.rows.map((r) => [r[0], r[4]]), say: (v) => `${fixed(v)} px`, least: 1 },
  { name: "retakes", from: (d) => d.rows.map((r) => [r[0], r[1] ? r[3] / r[1] : null]), say: (v) => percent(v), least: 0.04, line: RETAKE_LINE },
  { name: "tiles / min", hint: "graded (filled) and restored", from: (d) => finished(d).map((r) => [r[0], (r[1] * 60) / d.seconds]), more: (d) => finished(d).map((r) => [r[0], (r[2] * 60) / d.seconds]), say: count, sayMore: count, least: 10 },
  { name: "lag", from: (d) => d.beats.map((b) => [b[0], b[2]]), say: (v) => `${fixed(v, 1)} s`, least: 2 },
];

// The last bucket is not over yet: its rates would seem to fall.
const finished = (d) => (d.rows.length > 1 ? d.rows.slice(0, -1) : d.rows);

function build() {
  by("timeline").replaceChildren(...plots.map((plot) => {
    plot.canvas = make("canvas", { role: "img", "aria-label": plot.name });
    plot.now = make("b");
    plot.canvas.addEventListener("pointermove", (event) => { cursor = event.offsetX; soon("timeline", draw); });
    plot.canvas.addEventListener("pointerleave", () => { cursor = null; soon("timeline", draw); });
    return make("figure", {}, make("figcaption", {}, make("span", { title: plot.hint }, plot.name), plot.now), plot.canvas);
  }));
}

function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= most * 0.999);
}

function draw() {
  if (!data) return;
  let time = null;
  for (const plot of plots) time = drawOne(plot) ?? time;
  by("timehover").textContent = time === null ? "" : clock(time, true);
}

function drawOne(plot) {
  const context = plot.canvas.getContext("2d"), [width, height] = sized(plot.canvas, context), colours = palette();
  context.clearRect(0, 0, width, height);
  const points = plot.from(data).filter((p) => p[1] !== null), more = plot.more?.(data);
  const most = nice(Math.max(plot.least, ...points.map((p) => p[1]), ...(more ?? []).map((p) => p[1])));
  const span = Math.max(data.end - data.start, data.seconds);
  const x = (t) => LEFT + ((t + data.seconds / 2 - data.start) / span) * (width - LEFT - 4), y = (v) => TOP + (1 - v / most) * (height - TOP - BOTTOM);
  context.font = "10px system-ui, sans-serif";
  context.fillStyle = colours.quiet;
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    const at = Math.round(y(most * part)) + 0.5;
    context.beginPath(); context.moveTo(LEFT, at); context.lineTo(width - 4, at); context.stroke();
    const label = plot.say(most * part).replace(/ (px|s)$/, "").replace(/\.0+(?= %|$)/, "");
    context.textAlign = "right"; context.fillText(label, LEFT - 4, at + 3);
  }
  context.textAlign = "left"; context.fillText(clock(data.start), LEFT, height - 2);
  context.textAlign = "right"; context.fillText(clock(data.end), width - 4, height - 2);
  if (plot.line) {
    context.strokeStyle = colours.retake; context.setLineDash([4, 3]);
    context.beginPath(); context.moveTo(LEFT, y(plot.line)); context.lineTo(width - 4, y(plot.line)); context.stroke(); context.setLineDash([]);
  }
  stroke(context, points, x, y, colours.accent, y(0));
  if (more) stroke(context, more, x, y, colours.decisions[1], null);
  const found = cursor === null ? points.at(-1) : nearest(points, x);
  const other = found && more?.find((p) => p[0] === found[0]);
  plot.now.textContent = found ? plot.say(found[1]) + (other ? ` · ${plot.sayMore(other[1])}` : "") : "–";
  if (cursor !== null && found) {
    context.strokeStyle = colours.quiet; context.beginPath(); context.moveTo(x(found[0]), TOP); context.lineTo(x(found[0]), height - BOTTOM); context.stroke();
    context.fillStyle = colours.accent; context.beginPath(); context.arc(x(found[0]), y(found[1]), 2.5, 0, 7); context.fill();
    return found[0];
  }
  return null;
}

function nearest(points, x) {
  return points.reduce((best, point) => (!best || Math.abs(x(point[0]) - cursor) < Math.abs(x(best[0]) - cursor) ? point : best), null);
}

// A line that breaks where nothing happened for more than two buckets.
function stroke(context, points, x, y, colour, floor) {
  const runs = [];
  for (const point of points) {
    if (runs.length && point[0] - runs.at(-1).at(-1)[0] <= 2.5 * data.seconds) runs.at(-1).push(point);
    else runs.push([point]);
  }
  context.strokeStyle = context.fillStyle = colour;
  for (const run of runs) {
    context.beginPath();
    run.forEach((p, i) => (i ? context.lineTo(x(p[0]), y(p[1])) : context.moveTo(x(p[0]), y(p[1]))));
    if (run.length === 1) context.arc(x(run[0][0]), y(run[0][1]), 1.5, 0, 7);
    context.lineWidth = 1.5; context.stroke();
    if (floor !== null && run.length > 1) {
      context.lineTo(x(run.at(-1)[0]), floor); context.lineTo(x(run[0][0]), floor); context.closePath();
      context.globalAlpha = 0.12; context.fill(); context.globalAlpha = 1;
    }
  }
}

async function refresh() {
  const range = Number(by("range").value), last = store.news.last;
  data = await get("timeline", range && last ? { start: last - range, end: last + 60 } : {});
  if (data.start === null) data = null;
  soon("timeline", draw);
}

build();
by("range").addEventListener("change", () => refresh().catch(() => {}));
let timer = null;
on("changed", () => { timer ??= setTimeout(() => { timer = null; refresh().catch(() => {}); }, data ? 3000 : 0); });
repaint.addEventListener("theme", draw);
new ResizeObserver(() => soon("timeline", draw)).observe(by("timeline"));
