// The line below the map: the numbers of the tile under the pointer, or of the chosen one.
import { by, make } from "./dom.js";
import { COLUMN, keyOf, nameOf } from "./store.js";
import { DECISIONS, fixed, NAMES } from "./words.js";

export function facts(row, hovered = false) {
  const place = by("facts");
  if (!row) {
    place.replaceChildren(make("span", {}, "Point at a tile for its numbers; click to choose it, Enter or double-click to open it."));
    return;
  }
  const decision = DECISIONS[row[COLUMN.shown]];
  const parts = [make("b", {}, nameOf(row)), make("span", { class: "chip", of: decision }, NAMES[decision])];
  if (row[COLUMN.override] !== null) parts.push(make("span", {}, `operator: ${row[COLUMN.override]}`));
  const put = (name, value, digits, unit = "") => value !== null && parts.push(make("span", {}, `${name} `, make("b", {}, fixed(value, digits)), unit));
  put("blur", row[COLUMN.sigma_px], 2, " px");
  put("anisotropy", row[COLUMN.anisotropy], 3);
  put("noise", row[COLUMN.noise], 1);
  if (row[COLUMN.beam] !== null) parts.push(make("span", {}, `beam ${row[COLUMN.beam]}`));
  if (!hovered) {
    parts.push(make("button", { type: "button", class: "open", onclick: async () => { location.hash = `#/tile/${encodeURIComponent(await keyOf(row))}`; } }, "Open"));
  }
  place.replaceChildren(...parts);
}
facts(null);
