// Small ways to make elements. Text is only ever set as text: names in a log are not to be trusted.
export const by = (id) => document.getElementById(id);

export function make(tag, facts = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "of") element.style.setProperty("--of", `var(--${value})`);
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inside.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, facts = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  return element;
}

// A row of exclusive choices; calls `chosen` with the value.
export function segmented(place, name, choices, value, chosen) {
  place.replaceChildren(...Object.entries(choices).map(([key, words]) => {
    const input = make("input", { type: "radio", name, value: key, onchange: () => chosen(key) });
    input.checked = key === value;
    return make("label", {}, input, words);
  }));
}

// A canvas as sharp as the screen; returns its size in CSS pixels.
export function sized(canvas, context) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return [width, height];
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const typing = (event) => event.target.closest?.("input:not([type=range]):not([type=radio]):not([type=checkbox]), textarea, select") !== null;

let waiting = null;
const jobs = new Map();
// Do something before the next paint, once however often it was asked for.
export function soon(name, job) {
  jobs.set(name, job);
  waiting ??= requestAnimationFrame(() => {
    waiting = null;
    const now = [...jobs.values()];
    jobs.clear();
    for (const one of now) one();
  });
}
