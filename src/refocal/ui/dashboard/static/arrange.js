// Where the tiles of the shown sections lie on one plane: on the stage, else by rows and columns, else in a grid.
import { COLUMN, store } from "./store.js";

const GAP = 0.06;

// Returns sections with their boxes, and tiles as {row, x, y, w, h} with y downwards.
export function arrange() {
  const parts = [...store.shown].map((id) => placed(id)).filter((part) => part.tiles.length);
  const common = Math.max(...parts.filter((p) => p.stage).map((p) => p.w), 0);
  const columns = Math.ceil(Math.sqrt(parts.length)), made = [];
  let x = 0, y = 0, tallest = 0;
  parts.forEach((part, i) => {
    // Sections without a stage position are drawn as large as the largest that has one.
    const scale = part.stage || !common ? 1 : common / part.w;
    if (i && i % columns === 0) { y += tallest * (1 + 2.5 * GAP); x = 0; tallest = 0; }
    for (const tile of part.tiles) {
      tile.x = x + (tile.x - part.x) * scale; tile.y = y + (tile.y - part.y) * scale;
      tile.w *= scale; tile.h *= scale;
    }
    made.push({ id: part.id, name: store.sections.get(part.id)?.name ?? "", x, y, w: part.w * scale, h: part.h * scale, tiles: part.tiles });
    x += part.w * scale * (1 + GAP);
    tallest = Math.max(tallest, part.h * scale);
  });
  return made;
}

function placed(id) {
  const rows = [...(store.tiles.get(id)?.rows.values() ?? [])].sort((a, b) => a[COLUMN.id] - b[COLUMN.id]);
  const stage = rows.filter((row) => row[COLUMN.w_nm] !== null), cells = rows.filter((row) => row[COLUMN.w_nm] === null);
  const tiles = stage.map((row) => ({ row, x: row[COLUMN.x_nm] - row[COLUMN.w_nm] / 2, y: row[COLUMN.y_nm] - row[COLUMN.h_nm] / 2, w: row[COLUMN.w_nm], h: row[COLUMN.h_nm] }));
  const edge = tiles.length ? tiles[0].w : 1, below = tiles.length ? Math.max(...range(tiles, (t) => t.y + t.h)) + edge : 0;
  const left = tiles.length ? Math.min(...range(tiles, (t) => t.x)) : 0;
  const named = new Set(), loose = [];
  for (const row of cells) {
    const place = `${row[COLUMN.x_nm]},${row[COLUMN.y_nm]}`;
    if (row[COLUMN.x_nm] === null || named.has(place)) { loose.push(row); continue; }
    named.add(place);
    tiles.push({ row, x: left + row[COLUMN.x_nm] * edge, y: below + row[COLUMN.y_nm] * edge, w: edge, h: edge });
  }
  const across = Math.max(1, Math.ceil(Math.sqrt(loose.length))), start = tiles.length ? Math.max(...range(tiles, (t) => t.y + t.h)) + edge : 0;
  loose.forEach((row, i) => tiles.push({ row, x: left + (i % across) * edge, y: start + Math.floor(i / across) * edge, w: edge, h: edge }));
  const [x, right] = range(tiles, (t) => t.x), [y, bottom] = range(tiles, (t) => t.y);
  const w = tiles.length ? Math.max(...range(tiles, (t) => t.x + t.w)) - x : right, h = tiles.length ? Math.max(...range(tiles, (t) => t.y + t.h)) - y : bottom;
  return { id, tiles, x, y, w, h, stage: stage.length > 0 };
}

// Smallest and largest, without spreading a million arguments.
function range(tiles, of) {
  let low = Infinity, high = -Infinity;
  for (const tile of tiles) { const value = of(tile); if (value < low) low = value; if (value > high) high = value; }
  return [low, high];
}

// The nearest tile in a direction: what lies ahead counts, what lies aside counts twice.
export function neighbour(sections, from, dx, dy) {
  const section = sections.find((one) => one.tiles.includes(from));
  if (!section) return null;
  const cx = from.x + from.w / 2, cy = from.y + from.h / 2;
  let best = null, least = Infinity;
  for (const tile of section.tiles) {
    const x = tile.x + tile.w / 2 - cx, y = tile.y + tile.h / 2 - cy, ahead = x * dx + y * dy, aside = Math.abs(x * dy - y * dx);
    if (tile === from || ahead < 0.2 * Math.min(from.w, from.h) || aside > ahead * 1.2) continue;
    if (ahead + 2 * aside < least) { least = ahead + 2 * aside; best = tile; }
  }
  return best;
}
