"use strict";
(() => {
  const all = (what, where) => Array.from((where || document).querySelectorAll(what));
  all(".tools").forEach((tool) => { tool.hidden = false; });

  // Sorting: a click on a column's head; numbers by data-v, texts as they are read.
  const value = (row, n) => {
    const cell = row.cells[n];
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
  };
  const compare = (a, b) => (a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b, "en", { numeric: true }));
  all("table.sortable").forEach((table) => {
    all("th", table).forEach((head, n) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = Array.from(table.tBodies[0].rows).map((row) => [value(row, n), row]);
        rows.sort((a, b) => (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
        table.tBodies[0].append(...rows.map((each) => each[1]));
      });
    });
  });

  // Folding; all of it is unfolded for print.
  const folds = all("details");
  const fold = (open) => folds.forEach((each) => { each.open = open; });
  document.getElementById("open-all").addEventListener("click", () => fold(true));
  document.getElementById("close-all").addEventListener("click", () => fold(false));
  let before = null;
  addEventListener("beforeprint", () => { before = folds.map((each) => each.open); fold(true); });
  addEventListener("afterprint", () => { if (before) folds.forEach((each, n) => { each.open = before[n]; }); });
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();

  // Searching: rows, leaves of trees and cards without the words are taken away.
  const search = document.getElementById("search");
  const hits = document.getElementById("hits");
  const parts = all("tbody tr, .tree li, .find .plain li, .history li").map((node) => [node, node.textContent.toLowerCase()]);
  const cards = all(".card, .finding").map((node) => [node, node.textContent.toLowerCase()]);
  let waiting = 0;
  const look = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (text) => words.every((word) => text.includes(word));
    let found = 0;
    parts.forEach(([node, text]) => {
      const here = has(text);
      node.classList.toggle("off", words.length > 0 && !here);
      if (here && !node.querySelector("li")) found += 1;
    });
    cards.forEach(([node, text]) => {
      const here = has(text);
      node.classList.toggle("off", words.length > 0 && !here);
      if (here && words.length) {
        if (node.tagName === "DETAILS") node.open = true;
        all(".tree li:not(.off) > details", node.parentNode).forEach((each) => { each.open = true; });
      }
    });
    hits.textContent = words.length ? `${found} lines` : "";
  };
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 150); });

  // Zooming the timeline: every bar knows its time; where it stands follows from the time that is shown.
  const plot = document.getElementById("plot");
  if (!plot) return;
  const data = plot.dataset;
  const [start, span, left, right] = [+data.start, +data.span, +data.left, +data.right];
  const bars = all("#bars rect", plot);
  const ticks = document.getElementById("ticks");
  const frame = document.getElementById("zoom");
  const range = document.getElementById("zoom-range");
  const rows = all("#events tbody tr");
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
    1209600, 2592000, 7776000, 31536000, 157680000, 1576800000];
  const svg = (name, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, each]) => node.setAttribute(key, each));
    if (text) node.textContent = text;
    return node;
  };
  const clock = (second) => new Date(start + second * 1000).toISOString().slice(0, 19).replace("T", " ");
  let [from, to] = [0, span];
  const show = (a, b) => {
    [from, to] = [Math.max(0, a), Math.min(span, b)];
    const whole = from === 0 && to === span;
    const scale = (right - left) / (to - from);
    bars.forEach((bar) => {
      const [t, w] = [+bar.dataset.t, +bar.dataset.w];
      const x = Math.max(left, left + (t - from) * scale);
      const end = Math.min(right, left + (t + w - from) * scale);
      bar.classList.toggle("off", t + w < from || t > to);
      bar.setAttribute("x", x);
      bar.setAttribute("width", Math.max(1.6, end - x));
    });
    const step = steps.find((each) => (to - from) / each <= 8) || steps[steps.length - 1];
    ticks.replaceChildren();
    for (let at = Math.ceil((start / 1000 + from) / step) * step; at <= start / 1000 + to; at += step) {
      const x = left + (at - start / 1000 - from) * scale;
      const text = clock(at - start / 1000);
      const midnight = step >= 86400 || text.endsWith("00:00:00");
      ticks.append(svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: ticks.dataset.axis }));
      ticks.append(svg("text", { x, y: +ticks.dataset.axis + 18, "text-anchor": "middle" },
        midnight ? text.slice(0, 10) : step < 60 ? text.slice(11) : text.slice(11, 16)));
    }
    rows.forEach((row) => { row.hidden = !whole && (+row.dataset.t < from || +row.dataset.t > to); });
    range.textContent = whole ? "" : `${clock(from)} to ${clock(to)}`;
  };
  const at = (event) => {
    const box = plot.getBoundingClientRect();
    return Math.min(right, Math.max(left, ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width));
  };
  const second = (x) => from + ((x - left) / (right - left)) * (to - from);
  let held = null;
  plot.addEventListener("pointerdown", (event) => { held = at(event); plot.setPointerCapture(event.pointerId); });
  plot.addEventListener("pointermove", (event) => {
    if (held === null) return;
    frame.setAttribute("x", Math.min(held, at(event)));
    frame.setAttribute("width", Math.abs(held - at(event)));
  });
  plot.addEventListener("pointerup", (event) => {
    const [a, b] = [Math.min(held, at(event)), Math.max(held, at(event))];
    held = null;
    frame.setAttribute("width", 0);
    if (b - a > 6 && (to - from) * (b - a) > (right - left) * 0.002) show(second(a), second(b));
  });
  plot.addEventListener("pointercancel", () => { held = null; frame.setAttribute("width", 0); });
  document.getElementById("zoom-out").addEventListener("click", () => show(from - (to - from), to + (to - from)));
  document.getElementById("zoom-all").addEventListener("click", () => show(0, span));
})();
