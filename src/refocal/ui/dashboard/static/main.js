// Puts the parts together: which view is open, and what the keys do.
import "./head.js";
import "./alerts.js";
import "./beams.js";
import "./timeline.js";
import { switchTheme } from "./colours.js";
import { by, make, typing } from "./dom.js";
import { showList } from "./list.js";
import { open, selectRow, step, zoom } from "./map.js";
import { ask } from "./override.js";
import { get, keyOf, on, show, start, store } from "./store.js";
import { closeTile, keyShown, openTile, viewing } from "./tile.js";
import { DECISIONS, fixed, NAMES } from "./words.js";

const KEYS = [["← ↑ ↓ →", "next tile in that direction"], ["Enter", "open the tile"], ["k  r  t", "keep, restore, retake"], ["0  +  −", "whole picture, zoom"], ["1", "full resolution (tile)"], ["[  ]", "move the divider (tile)"], ["/", "find a tile"], ["m  l", "map, list"], ["d", "dark or light"], ["Esc", "back"], ["?", "this help"]];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function route() {
  const [, view, rest] = location.hash.match(/^#\/(\w+)\/?(.*)$/) ?? [null, "map", ""];
  document.querySelector(".board").classList.toggle("tile", view === "tile");
  by("mapview").hidden = view === "list";
  showList(view === "list");
  if (view === "tile") openTile(decodeURIComponent(rest)).then(follow).catch((error) => console.info(error.message));
  else closeTile();
}

// The tile that is open is also the chosen one on the map, in its section.
async function follow() {
  const tile = viewing()?.tile;
  if (!tile) return;
  if (!store.shown.has(tile.section)) await show([tile.section]);
  setTimeout(() => selectRow(tile.id), 300);
}

const help = by("keys");
help.replaceChildren(make("h2", { id: "keystitle" }, "Keyboard"), make("dl", {}, ...KEYS.flatMap(([key, words]) => [make("dt", {}, ...key.split(/\s+/).flatMap((one) => [make("kbd", {}, one), " "])), make("dd", {}, words)])),
  make("form", { method: "dialog", class: "buttons" }, make("button", { class: "main" }, "Close")));

async function key(event) {
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const seen = viewing(), verdict = { k: "keep", r: "restore", t: "retake" }[event.key];
  if (ARROWS[event.key]) {
    if (event.target.matches("input, select") || by("listview").hidden === false) return;
    event.preventDefault();
    const next = step(...ARROWS[event.key]);
    if (seen && next) await open(next.row);
  } else if (verdict) {
    event.preventDefault();  // else the letter is typed into the dialog
    const chosen = keyShown() ?? (store.at && !by("mapview").hidden ? await keyOf(store.at) : null);
    if (chosen) ask(chosen, verdict);
  } else if (event.key === "Enter") {
    if (store.at && event.target === by("map")) open();
  } else if (event.key === "Escape") location.hash = "#/map";
  else if (event.key === "/") { event.preventDefault(); by("search").focus(); }
  else if (event.key === "?") help.showModal();
  else if (event.key === "d") switchTheme();
  else if (event.key === "m" || event.key === "l") location.hash = event.key === "m" ? "#/map" : "#/list";
  else if (event.key === "+" || event.key === "=" || event.key === "-") (seen ? seen.view.zoom : zoom)(event.key === "-" ? 1 / 1.5 : 1.5);
  else if (event.key === "0") (seen ? seen.view.fit : zoom)();
  else if (event.key === "1" && seen) seen.view.full();
  else if ((event.key === "[" || event.key === "]") && seen) {
    const slider = document.querySelector(".split input");
    slider.value = Number(slider.value) + (event.key === "[" ? -50 : 50);
    slider.dispatchEvent(new Event("input"));
  }
}

const search = by("search");
let wait;
search.addEventListener("input", () => {
  clearTimeout(wait);
  wait = setTimeout(async () => {
    const text = search.value.trim();
    const found = text.length > 1 ? await get("find", { text }) : [];
    by("found").replaceChildren(...found.map((tile) => make("option", { value: tile.key }, `${tile.section_name} · ${NAMES[DECISIONS[tile.shown]]} · ${fixed(tile.sigma_px)} px`)));
    if (found.some((tile) => tile.key === text)) go(text);
  }, 150);
});
search.addEventListener("keydown", async (event) => {
  if (event.key === "Escape") { search.value = ""; search.blur(); }
  if (event.key !== "Enter" || !search.value.trim()) return;
  const found = await get("find", { text: search.value.trim() });
  if (found.length) go(found[0].key);
});
function go(name) {
  location.hash = `#/tile/${encodeURIComponent(name)}`;
  search.value = "";
  search.blur();
}

by("theme").addEventListener("click", switchTheme);
by("help").addEventListener("click", () => help.showModal());
addEventListener("keydown", (event) => key(event).catch(() => {}));
addEventListener("hashchange", route);
on("said", (tile) => { if (store.at && !viewing()) selectRow(tile.id); });
start().then(route).catch((error) => {
  by("live").dataset.is = "trouble";
  by("live").lastElementChild.textContent = error.message;
});
