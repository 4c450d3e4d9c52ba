// The top line: is it live, the key figures, the shares of the decisions.
import { by, make } from "./dom.js";
import { bar, countsWord } from "./sections.js";
import { on, store } from "./store.js";
import { ago, bytes, count, fixed, percent, RETAKE_LINE, retakeShare, short, total } from "./words.js";

const STALE_SECONDS = 120;

function state() {
  const { news, connected } = store;
  const { offset, size, more } = news.progress;
  if (!connected) return ["lost", "no answer from the dashboard; trying again"];
  if (news.trouble) return ["trouble", news.trouble];
  if (more) return ["busy", size ? `reading the log, ${percent(offset / size, 0)}` : "reading the log"];
  if (!news.last) return ["idle", "no tiles yet"];
  const quiet = Date.now() / 1000 - news.last > STALE_SECONDS;
  return quiet ? ["idle", `last tile ${ago(news.last)}`] : ["live", "live"];
}

function figure(name, value, unit = "", kind = null) {
  return make("div", { class: kind }, make("dt", {}, name), make("dd", {}, value, unit ? make("small", {}, ` ${unit}`) : null));
}

function draw() {
  if (!store.news) return;
  const { counts, sigma_px: sigma, beat, alerts } = store.news;
  const share = retakeShare(counts), [is, words] = state();
  const live = by("live");
  live.dataset.is = is;
  if (live.lastElementChild.textContent !== words) live.lastElementChild.textContent = words;
  const figures = [
    figure("tiles", short(total(counts))), figure("kept", short(counts[1])), figure("restored", short(counts[0])),
    figure("queued", short(counts[2])), figure("retakes", percent(share), `${short(counts[3])}`, share > RETAKE_LINE ? "over" : null),
    figure("mean blur", fixed(sigma), "px"),
  ];
  if (beat) {
    figures.push(figure("throughput", fixed(beat.tiles_per_s, 1), `tiles/s · ${bytes(beat.bytes_per_s)}/s`));
    figures.push(figure("lag", fixed(beat.lag_seconds, 1), `s · ${count(beat.lag_tiles)} tiles`, beat.lag_seconds > 60 ? "over" : null));
    figures.push(figure("disk free", bytes(beat.free_bytes)));
  }
  if (alerts.active) figures.push(figure("alerts", count(alerts.active), "", alerts.critical ? "urgent" : "over"));
  by("figures").replaceChildren(...figures);
  by("todo").textContent = counts[3] + counts[5] + counts[6] ? short(counts[3] + counts[5] + counts[6]) : "";
  bar(by("shares"), counts);
  by("shares").setAttribute("aria-label", countsWord(counts) || "no tiles yet");
}

on("live", draw);
on("fixed", () => {
  by("out").textContent = store.fixed.out;
  document.title = `${store.fixed.out} – refocal`;
});
setInterval(draw, 10_000);
