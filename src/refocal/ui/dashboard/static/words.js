// How numbers and decisions are written.
export const DECISIONS = ["restored", "kept", "queued", "retake", "no_content", "unreadable", "failed"];
export const NAMES = { restored: "restored", kept: "kept", queued: "queued", retake: "retake", no_content: "no content", unreadable: "unreadable", failed: "failed" };
export const RETAKE_LINE = 0.02;

export const fixed = (value, digits = 2) => (value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
export const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
export const short = (value) => (value >= 1e6 ? `${(value / 1e6).toFixed(2)} M` : value >= 1e5 ? `${(value / 1e3).toFixed(0)} k` : count(value));
export const percent = (value, digits = 1) => (value === null || !Number.isFinite(value) ? "–" : `${(100 * value).toFixed(digits)} %`);

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const step = value >= 1e12 ? [1e12, "TB"] : value >= 1e9 ? [1e9, "GB"] : [1e6, "MB"];
  return `${(value / step[0]).toFixed(value >= 1e12 ? 2 : 0)} ${step[1]}`;
}

export function clock(seconds, long = false) {
  if (seconds === null || seconds === undefined) return "–";
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(long ? { second: "2-digit" } : {}) });
  return long ? `${date.toLocaleDateString("en-CA")} ${time}` : time;
}

export function ago(seconds) {
  const past = Date.now() / 1000 - seconds;
  if (past < 90) return "just now";
  if (past < 5400) return `${Math.round(past / 60)} min ago`;
  if (past < 129600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}

// Retakes among the tiles that hold tissue.
export function retakeShare(counts) {
  const graded = counts[0] + counts[1] + counts[2] + counts[3];
  return graded ? counts[3] / graded : null;
}

export const total = (counts) => counts.reduce((sum, n) => sum + n, 0);
