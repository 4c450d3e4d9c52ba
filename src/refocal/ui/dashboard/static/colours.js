// Colours of grades: a ramp that rises in lightness (sharp is dark blue, soft is yellow), and one colour for each decision.
import { css } from "./dom.js";
import { DECISIONS } from "./words.js";

const RAMP = ["#0b2d63", "#27477a", "#46608a", "#667892", "#868f94", "#a8a68a", "#c9bd77", "#e6d35c", "#fbe93b"]
  .map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const STEPS = 64;
export const ramp = Array.from({ length: STEPS }, (_, step) => {
  const at = (step / (STEPS - 1)) * (RAMP.length - 1), low = Math.min(Math.floor(at), RAMP.length - 2);
  return `rgb(${RAMP[low].map((value, i) => Math.round(value + (at - low) * (RAMP[low + 1][i] - value))).join(" ")})`;
});
export const rampCss = `linear-gradient(90deg, ${ramp.filter((_, i) => i % 7 === 0).join(", ")})`;
export const rampStep = (value, low, high) => Math.max(0, Math.min(STEPS - 1, Math.floor(((value - low) / (high - low || 1)) * STEPS)));

let known = null;
export function palette() {
  known ??= { decisions: DECISIONS.map((name) => css(`--${name}`)), ink: css("--ink"), quiet: css("--quiet"), line: css("--line"), well: css("--well"), accent: css("--accent"), panel: css("--panel"), none: css("--no_content"), retake: css("--retake") };
  return known;
}
export const repaint = new EventTarget();
function changed() {
  known = null;
  repaint.dispatchEvent(new Event("theme"));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);

export function switchTheme() {
  const root = document.documentElement;
  const dark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* private windows keep nothing */ }
  changed();
}
