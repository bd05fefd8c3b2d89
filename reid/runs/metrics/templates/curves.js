"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const W = 360, H = 190, LEFT = 46, RIGHT = 8, TOP = 8, BOTTOM = 22;
const SVG = "http://www.w3.org/2000/svg";
const hidden = new Set();
const color = run => `var(--c${run % 8})`;
const make = (tag, attributes = {}, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const element = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const number = value => {
  if (value === null || value === undefined) return "not finite";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
};
for (const swatch of document.querySelectorAll(".swatch[data-run]"))
  swatch.style.background = color(Number(swatch.dataset.run));

// The mean of the past, weighted by powers of `weight`, without the pull to zero at its start.
function smooth(values, weight) {
  let sum = 0, norm = 0;
  return values.map(value => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(t);
  return found;
}

function frame(svg, low, high, first, last, log) {
  const x = v => LEFT + (last > first ? (v - first) / (last - first) : 0.5) * (W - LEFT - RIGHT);
  const place = v => log ? Math.log10(v) : v;
  const a = place(low), b = place(high);
  const y = v => H - BOTTOM - (b > a ? (place(v) - a) / (b - a) : 0.5) * (H - TOP - BOTTOM);
  const marks = log
    ? ticks(a, b > a ? b : a + 1, 4).map(t => 10 ** t).filter(v => v >= low && v <= high)
    : b > a ? ticks(low, high, 4) : [low];
  for (const value of marks) {
    svg.append(make("line", {class: "rule", x1: LEFT, x2: W - RIGHT, y1: y(value), y2: y(value)}));
    svg.append(make("text", {x: LEFT - 5, y: y(value) + 4, "text-anchor": "end"}, number(value)));
  }
  svg.append(make("text", {x: LEFT, y: H - 6}, first.toLocaleString()));
  svg.append(make("text", {x: W - RIGHT, y: H - 6, "text-anchor": "end"}, last.toLocaleString()));
  return [x, y];
}

const path = (xs, ys, x, y, log) => {
  let line = "", pen = "M";
  xs.forEach((at, i) => {
    if (ys[i] === null || (log && ys[i] <= 0)) { pen = "M"; return; }
    line += `${pen}${x(at).toFixed(1)} ${y(ys[i]).toFixed(1)}`;
    pen = "L";
  });
  return line;
};

function drawChart(card, chart, weight, wantsLog) {
  card.querySelector("svg")?.remove();
  const curves = chart.curves.filter(c => !hidden.has(c.run)).map(c => ({...c, shown: smooth(c.y, weight)}));
  const values = curves.flatMap(c => [...c.shown, ...(weight ? c.y : [])]).filter(v => v !== null);
  const log = wantsLog && values.some(v => v > 0);
  const usable = log ? values.filter(v => v > 0) : values;
  const svg = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": chart.metric});
  card.append(svg);
  if (!usable.length) return;
  const steps = curves.flatMap(c => [c.x[0], c.x.at(-1)]);
  let low = Math.min(...usable), high = Math.max(...usable);
  if (!log && high > low) { const pad = (high - low) * 0.04; low -= pad; high += pad; }
  const first = Math.min(...steps), last = Math.max(...steps);
  const [x, y] = frame(svg, low, high, first, last, log);
  for (const c of curves) {
    if (weight) svg.append(make("path", {class: "raw", stroke: color(c.run), d: path(c.x, c.y, x, y, log)}));
    svg.append(make("path", {class: "curve", stroke: color(c.run), d: path(c.x, c.shown, x, y, log)}));
    if (c.x.length < 40)
      c.x.forEach((at, i) => {
        if (c.shown[i] !== null && !(log && c.shown[i] <= 0))
          svg.append(make("circle", {cx: x(at), cy: y(c.shown[i]), r: 2.2, fill: color(c.run)}));
      });
  }
  hover(svg, x, first, last, at => curves.map(c => {
    const i = nearest(c.x, at);
    const raw = weight ? ` (${number(c.y[i])})` : "";
    return {at: c.x[i], color: color(c.run), name: DATA.runs[c.run], value: number(c.shown[i]) + raw};
  }));
}

function nearest(xs, at) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < at) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - at) <= Math.abs(xs[high] - at) ? low : high;
}

const tip = document.getElementById("tip");
function hover(svg, x, first, last, lines) {
  const cross = make("line", {class: "cross", y1: TOP, y2: H - BOTTOM, visibility: "hidden"});
  svg.append(cross);
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width * W - LEFT) / (W - LEFT - RIGHT);
    const at = first + Math.min(1, Math.max(0, share)) * (last - first);
    const found = lines(at);
    if (!found.length) return;
    tip.replaceChildren(element("span", "soft", `step ${found[0].at.toLocaleString()}`));
    for (const one of found) {
      const row = element("div"), swatch = element("i", "swatch");
      swatch.style.background = one.color;
      row.append(swatch, element("span", "", one.name), element("b", "", one.value));
      tip.append(row);
    }
    tip.hidden = false;
    const right = event.clientX + 18 + tip.offsetWidth > innerWidth;
    tip.style.left = `${Math.max(4, right ? event.clientX - tip.offsetWidth - 14 : event.clientX + 14)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 6))}px`;
    cross.setAttribute("x1", x(found[0].at));
    cross.setAttribute("x2", x(found[0].at));
    cross.setAttribute("visibility", "visible");
  });
  svg.addEventListener("pointerleave", () => { tip.hidden = true; cross.setAttribute("visibility", "hidden"); });
}

// Shares of the assignments, stacked to 1: an even router shows bands of one height, a dead expert none.
function drawRouter(card, router) {
  const svg = make("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `loads of ${router.name}`});
  card.append(svg);
  if (!router.x.length) return;
  const first = router.x[0], last = router.x.at(-1), count = router.loads.length;
  const [x, y] = frame(svg, 0, 1, first, last, false);
  const band = e => `hsl(${Math.round(360 * e / count)} 55% ${e % 2 ? 46 : 58}%)`;
  let below = router.x.map(() => 0);
  router.loads.forEach((load, e) => {
    const above = below.map((b, i) => b + (load[i] ?? 0));
    const there = router.x.map((at, i) => `${x(at).toFixed(1)} ${y(above[i]).toFixed(1)}`);
    const back = router.x.map((at, i) => `${x(at).toFixed(1)} ${y(below[i]).toFixed(1)}`).reverse();
    svg.append(make("path", {d: `M${[...there, ...back].join("L")}Z`, fill: band(e)}));
    below = above;
  });
  hover(svg, x, first, last, at => {
    const i = nearest(router.x, at);
    return router.loads.map((load, e) =>
      ({at: router.x[i], color: band(e), name: `expert ${e}`, value: `${(100 * (load[i] ?? 0)).toFixed(1)} %`}))
      .reverse();
  });
}

const charts = [], routers = [];
const root = document.getElementById("charts");
function section(title) {
  const node = element("section"), grid = element("div", "grid-of-charts");
  node.append(element("h2", "", title), grid);
  root.append(node);
  return grid;
}
for (const [title, found] of DATA.groups) {
  const grid = section(title);
  for (const chart of found) {
    const card = element("div", "chart card");
    card.append(element("h3", "", chart.metric));
    grid.append(card);
    charts.push([card, chart]);
  }
}
if (DATA.routers.length) {
  const grid = section("Routers: share of the assignments that each expert gets");
  for (const router of DATA.routers) {
    const card = element("div", "chart card"), head = element("h3", "", router.name + " ");
    if (DATA.runs.length > 1) head.append(element("small", "", DATA.runs[router.run]));
    card.append(head);
    grid.append(card);
    drawRouter(card, router);
    routers.push([card, router]);
  }
}
const slider = document.getElementById("smoothing"), log = document.getElementById("log");
function draw() {
  const weight = Number(slider.value);
  document.getElementById("smoothing-value").textContent = weight.toFixed(2);
  for (const [card, chart] of charts) drawChart(card, chart, weight, log.checked);
  for (const [card, router] of routers) card.hidden = hidden.has(router.run);
}
slider.addEventListener("input", draw);
log.addEventListener("input", draw);
for (const box of document.querySelectorAll("[data-toggle]"))
  box.addEventListener("input", () => {
    const run = Number(box.dataset.toggle);
    if (box.checked) hidden.delete(run); else hidden.add(run);
    draw();
  });
draw();
