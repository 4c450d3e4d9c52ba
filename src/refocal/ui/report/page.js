"use strict";
for (const input of document.querySelectorAll(".compare input")) {
  const move = () => input.parentElement.style.setProperty("--at", input.value + "%");
  input.addEventListener("input", move);
  move();
}
const facts = document.getElementById("facts");
if (facts) {
  const { rows, pictured, scored } = JSON.parse(facts.textContent);
  const shown = new Set(pictured), PAGE = 100;
  const words = new Map([...document.querySelectorAll("#only option")].map((o) => [o.value, o.textContent]));
  const columns = ["tile", "decision", "blur, px", "blur, nm", "noise", "anisotropy", "angle, °", "expected, dB", "seconds"];
  if (scored) columns.push("PSNR before", "PSNR after", "SSIM before", "SSIM after");
  const REASON = columns.push("reason") - 1;
  const body = document.querySelector("#tiles tbody"), head = document.querySelector("#tiles thead tr");
  const find = document.getElementById("find"), only = document.getElementById("only"), pages = document.getElementById("pages");
  let by = -1, down = false, page = 0, order = rows.map((_, i) => i), at = -1;

  const cell = (row, text, kind) => {
    const td = row.insertCell();
    if (kind) td.className = kind;
    td.textContent = text;
    return td;
  };
  const draw = () => {
    const last = Math.max(0, Math.ceil(order.length / PAGE) - 1);
    page = Math.min(Math.max(0, page), last);
    body.replaceChildren();
    for (const i of order.slice(page * PAGE, page * PAGE + PAGE)) {
      const row = body.insertRow(), values = rows[i];
      row.dataset.tile = i;
      if (i === at) row.className = "at";
      const first = cell(row, shown.has(i) ? "" : values[0]);
      if (shown.has(i)) {
        const link = first.appendChild(document.createElement("a"));
        link.href = "#t" + i;
        link.textContent = values[0];
      }
      for (let c = 1; c < columns.length; c++) {
        const v = values[c];
        if (c === 1) cell(row, words.get(v) || v);
        else if (typeof v === "string") cell(row, v);
        else cell(row, v == null ? "–" : v.toFixed(c > 10 ? 4 : c === 6 ? 0 : c === 8 ? 3 : 2), "n");
      }
    }
    pages.textContent = order.length ? `${page * PAGE + 1}–${Math.min(order.length, (page + 1) * PAGE)} of ${order.length}` : "none";
  };
  const arrange = () => {
    const text = find.value.toLowerCase();
    order = [];
    rows.forEach((r, i) => {
      if ((!only.value || r[1] === only.value) && (!text || (r[0] + " " + r[REASON]).toLowerCase().includes(text))) order.push(i);
    });
    if (by >= 0) {
      const names = new Intl.Collator(undefined, { numeric: true });
      order.sort((a, b) => {
        const x = rows[a][by] ?? null, y = rows[b][by] ?? null;
        if (x === null || y === null) return (x === null) - (y === null);
        const way = typeof x === "string" ? names.compare(x, y) : x - y;
        return down ? -way : way;
      });
    }
    page = 0;
    draw();
  };
  columns.forEach((name, c) => {
    const th = head.appendChild(document.createElement("th"));
    th.scope = "col";
    const button = th.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      down = by === c ? !down : false;
      by = c;
      for (const other of head.children) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      arrange();
    });
  });
  find.addEventListener("input", arrange);
  only.addEventListener("change", arrange);
  document.getElementById("back").addEventListener("click", () => { page--; draw(); });
  document.getElementById("on").addEventListener("click", () => { page++; draw(); });
  arrange();

  const tip = document.getElementById("tip");
  const tell = (event) => {
    const link = event.target.closest?.("[data-tile]");
    if (!link || !link.closest(".map, .plot")) return;
    const r = rows[link.dataset.tile];
    tip.textContent = `${r[0]}: ${words.get(r[1]) || r[1]}` + (r[2] == null ? "" : `, blur ${r[2].toFixed(2)} px`) + (r[4] == null ? "" : `, noise ${r[4].toFixed(1)} counts`) + (r[REASON] ? ` (${r[REASON]})` : "");
  };
  document.addEventListener("mouseover", tell);
  document.addEventListener("focusin", tell);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-tile]");
    if (!link || shown.has(+link.dataset.tile)) return;
    event.preventDefault();
    at = +link.dataset.tile;
    find.value = only.value = "";
    arrange();
    page = Math.floor(order.indexOf(at) / PAGE);
    draw();
    body.querySelector(".at").scrollIntoView({ block: "center" });
  });
}
