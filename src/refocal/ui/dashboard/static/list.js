// Tiles that need somebody: retakes, what cannot be read, what failed, what waits. Sorted and filtered by the server.
import { by, make } from "./dom.js";
import { get, on, store } from "./store.js";
import { clock, count, fixed, NAMES } from "./words.js";

const PORTION = 100;
const KINDS = ["retake", "unreadable", "failed", "queued"];
const COLUMNS = [["key", "tile"], ["section", "section"], ["shown", "decision"], ["sigma_px", "blur, px", "n"], ["noise", "noise", "n"], ["anisotropy", "anisotropy", "n"], ["beam", "beam", "n"], ["time", "graded"], [null, "reason"]];
const asked = { kinds: new Set(["retake", "unreadable", "failed"]), section: "", find: "", sort: "time", down: 1, limit: PORTION };
const view = by("listview");
let body, foot, link, inSection, heads, last = null, open = false;

function query() {
  return { decisions: [...asked.kinds].join(",") || "none", section: asked.section, find: asked.find, sort: asked.sort, down: asked.down };
}

function build() {
  const kinds = KINDS.map((kind) => {
    const box = make("input", { type: "checkbox", onchange: () => { asked.kinds[box.checked ? "add" : "delete"](kind); if (!asked.kinds.size) { asked.kinds.add(kind); box.checked = true; } refresh(true); } });
    box.checked = asked.kinds.has(kind);
    return make("label", {}, box, make("span", { class: "chip", of: kind }, NAMES[kind]));
  });
  const find = make("input", { type: "search", placeholder: "Filter by name", "aria-label": "Filter the list by name" });
  let wait;
  find.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => { asked.find = find.value.trim(); refresh(true); }, 200); });
  inSection = make("select", { "aria-label": "Sections of the list", onchange: () => { asked.section = inSection.value === "all" ? "" : [...store.shown][0]; refresh(true); } },
    make("option", { value: "all" }, "all sections"), make("option", { value: "shown" }, "the section shown"));
  link = make("a", { download: "tiles.csv" }, "CSV");
  const tabs = make("div", { class: "tabs", role: "tablist" }, make("a", { role: "tab", href: "#/map", "aria-selected": "false" }, "Map"), make("a", { role: "tab", href: "#/list", "aria-selected": "true" }, "To do"));
  heads = make("tr");
  body = make("tbody");
  foot = make("footer", { class: "quiet" });
  view.replaceChildren(make("header", {}, tabs, make("div", { class: "filter" }, ...kinds, inSection, find), make("span", { class: "grow" }), link),
    make("div", { class: "scroll", tabindex: "-1" }, make("table", {}, make("thead", {}, heads), body)), foot);
}

function drawHeads() {
  heads.replaceChildren(...COLUMNS.map(([sort, words, kind]) => {
    const sorted = asked.sort === sort ? (asked.down ? "descending" : "ascending") : null;
    const head = make("th", { class: kind, scope: "col", "aria-sort": sorted });
    head.append(sort ? make("button", { type: "button", onclick: () => { asked.down = asked.sort === sort ? 1 - asked.down : Number(!["key", "section", "beam"].includes(sort)); asked.sort = sort; refresh(true); } }, words) : words);
    return head;
  }));
}

async function refresh(reset = false) {
  if (!open || (!reset && last === store.news.offset)) return;
  if (reset) asked.limit = PORTION;
  last = store.news.offset;
  link.href = `/api/list.csv?${new URLSearchParams(query())}`;
  const { count: all, rows } = await get("list", { ...query(), limit: asked.limit });
  drawHeads();
  body.replaceChildren(...rows.map(item));
  foot.replaceChildren(make("span", { role: "status" }, all ? `${count(rows.length)} of ${count(all)} tiles` : "Nothing to do: no such tiles."),
    rows.length < all && asked.limit < 500 ? make("button", { type: "button", onclick: () => { asked.limit = Math.min(500, asked.limit + 200); last = null; refresh(); } }, "More") : "",
    rows.length < all && asked.limit >= 500 ? "the CSV holds all of them" : "");
}

function item(row) {
  const href = `#/tile/${encodeURIComponent(row.key)}`;
  return make("tr", { onclick: () => { location.hash = href; } },
    make("td", { class: "name" }, make("a", { href, title: row.key }, row.tile ?? row.key)), make("td", {}, row.section),
    make("td", {}, make("span", { class: "chip", of: row.decision }, NAMES[row.decision]), row.override ? ` by ${row.override_by}` : ""),
    make("td", { class: "n" }, fixed(row.sigma_px)), make("td", { class: "n" }, fixed(row.noise, 1)), make("td", { class: "n" }, fixed(row.anisotropy, 3)),
    make("td", { class: "n" }, row.beam ?? ""), make("td", {}, clock(row.time, true).slice(5)), make("td", { class: "wide" }, row.note ? `“${row.note}” · ` : "", row.reason ?? ""));
}

export function showList(visible) {
  open = visible;
  view.hidden = !visible;
  if (visible) refresh(true).catch(() => {});
}

build();
let timer = null;
on("changed", () => { timer ??= setTimeout(() => { timer = null; refresh().catch(() => {}); }, 1000); });
on("said", () => { last = null; refresh().catch(() => {}); });
on("shown", () => { if (asked.section !== "") { asked.section = [...store.shown][0]; refresh(true).catch(() => {}); } });
