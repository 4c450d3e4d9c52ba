// One or two images at any zoom: squares of a pyramid are fetched as they are needed; a divider parts before and after.
import { sized, soon } from "./dom.js";
import { palette } from "./colours.js";
import { navigate } from "./pan.js";

const KEPT = 240;

export function viewer(canvas, tell) {
  const context = canvas.getContext("2d"), squares = new Map();
  const redraw = () => soon("viewer", draw), view = navigate(canvas, redraw);
  const state = { key: null, views: {}, edge: 512, grey: [0, 255], split: 0.5 };
  view.most = 32;

  view.ondrag = (what, x) => {
    if (what === "begin") return Boolean(state.views.after?.width) && Math.abs(x - state.split * canvas.clientWidth) < 14;
    state.split = Math.max(0, Math.min(1, x / canvas.clientWidth));
    tell.split(state.split);
    redraw();
    return true;
  };
  canvas.addEventListener("pointermove", (event) => {
    const near = state.views.after?.width && Math.abs(event.offsetX - state.split * canvas.clientWidth) < 14;
    canvas.classList.toggle("onsplit", Boolean(near));
    tell.at(Math.floor((event.offsetX - view.x) / view.k), Math.floor((event.offsetY - view.y) / view.k));
  });

  const size = () => state.views.before?.width ? state.views.before : state.views.after;
  function fit() {
    const about = size();
    if (!about?.width || !canvas.clientWidth) return;
    view.fit(0, 0, about.width, about.height, canvas, 8);
    redraw();
  }

  function show(key, views, edge, grey) {
    Object.assign(state, { key, views, edge, grey });
    squares.clear();
    fit();
  }

  function square(name, level, column, row) {
    const query = new URLSearchParams({ key: state.key, view: name, level, column, row, low: state.grey[0], high: state.grey[1] });
    const url = `/api/square?${query}`;
    let image = squares.get(url);
    if (image) { squares.delete(url); squares.set(url, image); return image; }
    image = new Image();
    image.decoding = "async";
    image.onload = redraw;
    image.src = url;
    squares.set(url, image);
    while (squares.size > KEPT) squares.delete(squares.keys().next().value);
    return image;
  }

  function layer(name, from, to) {
    const about = state.views[name];
    if (!about?.width || to <= from) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight], sharp = devicePixelRatio || 1;
    const top = about.levels - 1, wanted = Math.max(0, Math.min(top, Math.floor(Math.log2(1 / (view.k * sharp)) + 0.25)));
    context.save();
    context.beginPath(); context.rect(from, 0, to - from, height); context.clip();
    context.imageSmoothingEnabled = view.k * sharp < 2;
    for (const level of wanted === top ? [top] : [top, wanted]) {  // the coarse one stands in until the fine one is there
      const span = state.edge * 2 ** level;
      const first = [Math.max(0, Math.floor((from - view.x) / view.k / span)), Math.max(0, Math.floor(-view.y / view.k / span))];
      const end = [Math.min(about.width, (Math.min(to, width) - view.x) / view.k), Math.min(about.height, (height - view.y) / view.k)];
      for (let row = first[1]; row * span < end[1]; row++) {
        for (let column = first[0]; column * span < end[0]; column++) {
          const image = square(name, level, column, row);
          if (!image.complete || !image.naturalWidth) continue;
          const w = Math.min(span, about.width - column * span), h = Math.min(span, about.height - row * span);
          context.drawImage(image, column * span * view.k + view.x, row * span * view.k + view.y, w * view.k, h * view.k);
        }
      }
    }
    context.restore();
  }

  function draw() {
    const [width, height] = sized(canvas, context), colours = palette();
    context.fillStyle = colours.well;
    context.fillRect(0, 0, width, height);
    const both = state.views.before?.width && state.views.after?.width, at = Math.round(state.split * width);
    if (both) {
      layer("before", 0, at);
      layer("after", at, width);
      context.fillStyle = "#fff"; context.fillRect(at - 1, 0, 2, height);
      context.beginPath(); context.arc(at, height / 2, 13, 0, 7); context.fill();
      context.fillStyle = "#222"; context.font = "600 13px system-ui, sans-serif"; context.textAlign = "center"; context.fillText("‹ ›", at, height / 2 + 4);
      if (at > 90) tag("recorded", at - 10, "right");
      if (width - at > 90) tag("restored", at + 10, "left");
    } else {
      layer(state.views.before?.width ? "before" : "after", 0, width);
    }
    tell.zoom(view.k);
  }

  function tag(words, x, align) {
    context.font = "600 11px system-ui, sans-serif";
    const w = context.measureText(words).width + 14, left = align === "right" ? x - w : x;
    context.fillStyle = "#000b"; context.fillRect(left, 10, w, 20);
    context.fillStyle = "#fff"; context.textAlign = "left"; context.fillText(words, left + 7, 24);
  }

  new ResizeObserver(() => (view.fitted ? fit() : redraw())).observe(canvas);
  return {
    show, fit, redraw,
    grey(low, high) { state.grey = [low, high]; redraw(); },
    split(value) { state.split = value; redraw(); },
    full() { view.zoom(1 / (devicePixelRatio || 1) / view.k); },
    zoom(factor) { view.zoom(factor); },
  };
}
