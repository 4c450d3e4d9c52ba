// Alerts, the active ones first.
import { by, make, soon } from "./dom.js";
import { get, on, store } from "./store.js";
import { clock } from "./words.js";

const COLOURS = { critical: "bad", warning: "warn", info: "accent" };
let last = null;

async function refresh() {
  const now = store.news.offset;
  if (last === now) return;
  last = now;
  const alerts = await get("alerts");
  soon("alerts", () => {
    const active = alerts.filter((alert) => alert.active);
    by("alertcount").textContent = active.length ? `${active.length} active` : "";
    by("alerts").replaceChildren(...(alerts.length ? alerts.map(item) : [make("li", { class: "quiet" }, "None. Beams, focus, retakes and disks are watched.")]));
  });
}

function item(alert) {
  const where = [alert.section, alert.subject].filter(Boolean).join(" · ");
  const when = alert.active ? `since ${clock(alert.since)}` : `${clock(alert.since)} to ${clock(alert.time)}, over`;
  return make("li", { of: alert.active ? COLOURS[alert.severity] ?? "warn" : "line", class: alert.active ? null : "over" },
    make("p", {}, alert.active && alert.severity === "critical" ? make("b", {}, "Critical: ") : null, alert.message || alert.kind.replaceAll("_", " ")),
    make("p", { class: "when" }, `${when}${where ? ` · ${where}` : ""}`));
}

let timer = null;
on("changed", () => { timer ??= setTimeout(() => { timer = null; refresh().catch(() => {}); }, last === null ? 0 : 1500); });
