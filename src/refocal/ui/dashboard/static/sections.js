// The list of sections: name, tiles, share of retakes, and a bar of the decisions.
import { by, make, soon } from "./dom.js";
import { latestFirst, on, show, store } from "./store.js";
import { count, DECISIONS, percent, RETAKE_LINE, retakeShare, total, NAMES } from "./words.js";

const MOST = 600;
const list = by("sections"), find = by("sectionfind"), several = by("several");
let at = null;

export function bar(place, counts) {
  const all = total(counts) || 1;
  place.replaceChildren(...DECISIONS.map((name, i) => {
    const part = make("i");
    part.style.width = `${(100 * counts[i]) / all}%`;
    part.style.background = `var(--${name})`;
    return part;
  }));
}

export function countsWord(counts) {
  return DECISIONS.map((name, i) => (counts[i] ? `${count(counts[i])} ${NAMES[name]}` : null)).filter(Boolean).join(", ");
}

function visible() {
  const text = find.value.trim().toLowerCase();
  return latestFirst().filter((section) => section.name.toLowerCase().includes(text));
}

function draw() {
  const sections = visible();
  by("sectioncount").textContent = sections.length === store.sections.size ? count(store.sections.size) : `${count(sections.length)} of ${count(store.sections.size)}`;
  list.replaceChildren(...sections.slice(0, MOST).map(item));
  if (sections.length > MOST) list.append(make("li", { "aria-disabled": "true", class: "quiet" }, `${count(sections.length - MOST)} more: filter to see them`));
}

function item(section) {
  const share = retakeShare(section.counts), mini = make("div", { class: "mini" });
  bar(mini, section.counts);
  const over = share > RETAKE_LINE;
  const element = make("li", {
    role: "option", id: `section${section.id}`, "aria-selected": String(store.shown.has(section.id)), class: section.id === at ? "at" : null,
    title: `${section.name || "(no name)"}: ${countsWord(section.counts)}${section.state ? `; ${section.state}` : ""}`,
  }, make("div", { class: "row" },
    make("b", {}, section.name || "(no name)"), section.state === "open" ? make("span", {}, "open") : null,
    make("span", {}, count(total(section.counts))), make("span", { class: over ? "over" : null, "aria-label": `${percent(share)} retakes` }, percent(share))), mini);
  element.addEventListener("click", (event) => choose(section.id, event.ctrlKey || event.metaKey || event.shiftKey || several.ariaPressed === "true"));
  return element;
}

function choose(id, more) {
  at = id;
  const shown = new Set(store.shown);
  if (more && shown.has(id) && shown.size > 1) shown.delete(id);
  else if (more) shown.add(id);
  const latest = latestFirst()[0];
  const chosen = more ? [...shown].slice(-16) : [id];
  show(chosen, chosen.length === 1 && latest?.id === id);
  if (location.hash.startsWith("#/tile")) location.hash = "#/map";
}

list.addEventListener("keydown", (event) => {
  const sections = visible().slice(0, MOST), step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const now = sections.findIndex((section) => section.id === (at ?? [...store.shown][0]));
  if (step && sections.length) {
    at = sections[Math.max(0, Math.min(sections.length - 1, now + step))].id;
    list.setAttribute("aria-activedescendant", `section${at}`);
    draw();
    by(`section${at}`).scrollIntoView({ block: "nearest" });
  } else if ((event.key === "Enter" || event.key === " ") && at !== null) choose(at, event.key === " " || event.ctrlKey);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
several.addEventListener("click", () => { several.ariaPressed = String(several.ariaPressed !== "true"); });
find.addEventListener("input", draw);
on("sections", () => soon("sections", draw));
on("shown", () => soon("sections", draw));
