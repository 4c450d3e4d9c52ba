// Pan and zoom by mouse, wheel, pen and fingers. A view maps world to screen: screen = world * k + (x, y).
const CLICK = 6;

export function navigate(canvas, changed) {
  const view = { k: 1, x: 0, y: 0, least: 0, most: Infinity, fitted: true, onclick: null, ondrag: null, move, zoom, fit };
  const fingers = new Map();
  let moved = 0, dragged = false;

  function move(dx, dy) { view.fitted = false; view.x += dx; view.y += dy; changed(); }
  function zoom(factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const k = Math.min(view.most, Math.max(view.least, view.k * factor)), by = k / view.k;
    view.fitted = false;
    view.x = px - (px - view.x) * by; view.y = py - (py - view.y) * by; view.k = k;
    changed();
  }
  function fit(x, y, w, h, place, pad = 0) {
    const width = place.clientWidth, height = place.clientHeight;
    view.k = Math.min((width - 2 * pad) / (w || 1), (height - 2 * pad) / (h || 1));
    view.least = view.k / 4;
    view.fitted = true;
    view.x = (width - w * view.k) / 2 - x * view.k; view.y = (height - h * view.k) / 2 - y * view.k;
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015) * (event.ctrlKey ? 4 : 1)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (fingers.size === 1) { moved = 0; dragged = view.ondrag?.("begin", event.offsetX, event.offsetY) ?? false; }
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.offsetX, event.offsetY];
    moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
    if (dragged) view.ondrag("move", ...now);
    else if (fingers.size === 1) { if (moved > CLICK) move(now[0] - before[0], now[1] - before[1]); }
    else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1], distance = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
      zoom(distance(now) / Math.max(1, distance(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    }
    fingers.set(event.pointerId, now);
  });
  const ended = (event) => {
    if (!fingers.delete(event.pointerId) || fingers.size) return;
    if (!dragged && moved <= CLICK && event.type === "pointerup") view.onclick?.(event.offsetX, event.offsetY);
    dragged = false;
  };
  canvas.addEventListener("pointerup", ended);
  canvas.addEventListener("pointercancel", ended);
  return view;
}
