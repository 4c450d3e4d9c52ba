// What the page knows: the server's news, the sections, the tiles of the sections that are shown.
import { count } from "./words.js";

export const COLUMN = {};
export const store = { fixed: null, news: null, connected: false, sections: new Map(), shown: new Set(), tiles: new Map(), follows: true, at: null };
const bus = new EventTarget();
export const on = (what, does) => bus.addEventListener(what, (event) => does(event.detail));
export const tell = (what, detail) => bus.dispatchEvent(new CustomEvent(what, { detail }));

export async function get(name, query = {}) {
  const answer = await fetch(`/api/${name}?${new URLSearchParams(query)}`);
  if (answer.status === 401) location.reload();
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? answer.statusText);
  return found;
}

export async function post(name, content) {
  const answer = await fetch(`/api/${name}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? answer.statusText);
  return found;
}

export async function start() {
  store.fixed = await get("state");
  store.fixed.columns.forEach((name, at) => { COLUMN[name] = at; });
  tell("fixed");
  await heard(store.fixed);
  const source = new EventSource("/api/events");
  source.onopen = () => { store.connected = true; tell("live"); };
  source.onerror = () => { store.connected = false; tell("live"); };
  source.onmessage = (message) => { store.connected = true; heard(JSON.parse(message.data)); };
}

let reading = false, again = false;
async function heard(news) {
  if (store.news && news.generation !== store.news.generation) {
    store.sections.clear();
    store.tiles.clear();
    store.shown.clear();
    store.at = null;
  }
  store.news = news;
  tell("live");
  again = true;
  if (reading) return;
  reading = true;
  try {
    while (again) {
      again = false;
      await readSections();
      await readTiles();
      tell("changed");
    }
  } catch (error) {
    console.info(`not read: ${error.message}`);
  }
  reading = false;
}

async function readSections() {
  const since = Math.max(-1, ...[...store.sections.values()].map((section) => section.rev));
  for (const section of await get("sections", { since })) store.sections.set(section.id, section);
  const latest = latestFirst()[0];
  if (latest && (!store.shown.size || (store.follows && !store.shown.has(latest.id)))) {
    store.shown = new Set([latest.id]);
    tell("shown");
  }
  tell("sections");
}

export const latestFirst = () => [...store.sections.values()].sort((a, b) => (b.first ?? 0) - (a.first ?? 0) || b.id - a.id);

export async function readTiles() {
  for (const id of [...store.shown]) {
    const section = store.sections.get(id);
    if (!section) continue;
    const held = store.tiles.get(id) ?? { rows: new Map(), since: -1, generation: store.news.generation };
    store.tiles.set(id, held);
    while (held.since < section.rev && store.shown.has(id)) {
      const { rows, next, generation } = await get("tiles", { section: id, since: held.since });
      if (generation !== held.generation) return;
      for (const row of rows) {
        if (row[COLUMN.current]) held.rows.set(row[COLUMN.id], row);
        else held.rows.delete(row[COLUMN.id]);
      }
      held.since = next ?? Math.max(section.rev, ...rows.slice(-1).map((row) => row[COLUMN.rev]));
      if (rows.length) tell("tiles", id);
    }
  }
  for (const id of store.tiles.keys()) if (!store.shown.has(id)) store.tiles.delete(id);
}

export async function show(ids, follows = false) {
  store.shown = new Set(ids);
  store.follows = follows;
  store.at = null;
  tell("shown");
  await readTiles();
  tell("changed");
}

// A tile on the map has a short name; its key is asked for when it is needed.
const keys = new Map();
export async function keyOf(row) {
  if (row[COLUMN.key] !== null) return row[COLUMN.key];
  const id = `${store.news.generation}/${row[COLUMN.id]}`;
  if (!keys.has(id)) keys.set(id, (await get("key", { id: row[COLUMN.id], generation: store.news.generation })).key);
  return keys.get(id);
}

export const nameOf = (row) => row[COLUMN.tile] ?? row[COLUMN.key];
export const sectionsWord = () => `${count(store.sections.size)}`;
