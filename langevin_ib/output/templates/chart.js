"use strict";
// Draws a page's histograms beside their laws from the numbers in the page; without it there is the picture as it was saved.
(() => {
  const NORMAL95 = 1.96, KNEE = 2, DIGITS = 4;
  const BESIDE = 420;  // CSS pixels of a panel above which it has the proportions of a lone one
  const SVG = (() => {  // the namespace, which an HTML parser knows by itself
    const box = document.createElement("div");
    box.innerHTML = "<svg></svg>";
    return box.firstChild.namespaceURI;
  })();

  function make(tag, attributes = {}, ...children) {
    const drawn = ["svg", "g", "path", "rect", "line", "text", "title"].includes(tag);
    const node = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  const plain = (value) => String(Number(value.toPrecision(DIGITS))).replace("-", "−");
  const fixed = (value) => (value === 0 || Math.abs(value) >= 5e-5 ? value.toFixed(4) : value.toExponential(1));
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(Math.abs(value) < 10 ? 1 : 0);

  function ticks(low, high, count) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((each) => each * power >= raw) * power;
    const values = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) values.push(i * step);
    return values;
  }

  const line = (points) => {
    let path = "", pen = "M";
    for (const [x, y] of points) {
      if (!Number.isFinite(y)) { pen = "M"; continue; }
      path += pen + x.toFixed(2) + " " + y.toFixed(2);
      pen = "L";
    }
    return path;
  };

  const stairs = (edges, heights) => heights.flatMap((height, i) => [[edges[i], height], [edges[i + 1], height]]);
  const area = (upper, lower) => line([...upper, ...lower.reverse()]) + "Z";

  // What a bin has to say of a law: its mass, and how many standard errors of the difference it is off.
  function beside(panel, law, bin) {
    const own = panel.laws[law];
    if (own === undefined) return null;
    const error = Math.hypot(panel.mass_se[bin], own.mass_se === undefined ? 0 : own.mass_se[bin]);
    const difference = own.mass[bin] - panel.mass[bin];
    return { mass: own.mass[bin], off: error > 0 ? difference / error : null };
  }

  class Chart {
    constructor(figure, data) {
      this.data = data;
      this.hidden = new Set();
      this.views = data.panels.map((panel, index) => new View(this, panel, index));
      this.where = make("caption", { "aria-live": "polite" });
      this.cells = new Map();
      const several = data.panels.length > 1;
      const box = make("div", { class: "chart" + (several ? " several" : "") });
      const panels = make("div", { class: "panels" });
      panels.append(...this.views.map((view) => view.box));
      box.append(panels, this.legend());
      figure.append(box);
      figure.classList.add("live");
      this.say(null);
      this.views.forEach((view) => view.follow());
    }

    legend() {
      const table = make("table", { class: "legend" }, this.where);
      this.judged = this.data.curves.some((curve) => curve.verdict !== "");
      const head = make("tr", {}, make("td", { colspan: this.judged ? 2 : 1 }),
                        ...["mass in bin", "off by"].map((text) => make("th", { scope: "col" }, text)));
      const body = make("tbody", {}, this.row("draws", make("span", { class: "name" }, swatch("bar"), "draws ± 95%"), ""));
      this.data.curves.forEach((curve, index) => {
        const button = make("button", { type: "button", "aria-pressed": "true", "data-curve": index,
                                        title: "show or hide " + curve.label }, swatch("curve", curve), curve.label);
        button.addEventListener("click", () => this.toggle(index, button));
        body.append(this.row(index, button, curve.verdict));
      });
      table.append(make("thead", {}, head), body);
      return table;
    }

    row(key, name, verdict) {
      const mass = make("td", { class: "mass" }), off = make("td", { class: "off" });
      this.cells.set(key, { mass, off });
      const judged = this.judged ? [make("td", { class: "left " + verdict }, verdict)] : [];
      return make("tr", {}, make("td", { class: "left" }, name), ...judged, mass, off);
    }

    toggle(index, button) {
      const shown = this.hidden.delete(index);
      if (!shown) this.hidden.add(index);
      button.setAttribute("aria-pressed", String(shown));
      this.views.forEach((view) => view.draw());
    }

    // Into the legend, the masses of one bin; of none, what to do.
    say(view, bin) {
      for (const { mass, off } of this.cells.values()) mass.textContent = off.textContent = "–";
      if (view === null) {
        this.where.textContent = "Point at a bin for its masses, or reach a panel by Tab and move by ← →. " +
                                 "Buttons switch laws off and on.";
        return;
      }
      const { panel } = view;
      this.where.textContent = view.words(bin);
      this.cells.get("draws").mass.textContent = fixed(panel.mass[bin]) + " ± " + fixed(NORMAL95 * panel.mass_se[bin]);
      this.data.curves.forEach((curve, index) => {
        const found = beside(panel, curve.laws.find((law) => law in panel.laws), bin);
        if (found === null) return;
        this.cells.get(index).mass.textContent = fixed(found.mass);
        this.cells.get(index).off.textContent = found.off === null ? "–" : signed(found.off) + " s.e.";
      });
    }
  }

  function swatch(kind, curve) {
    const box = make("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" });
    box.append(kind === "bar" ? make("rect", { class: "bar", width: 26, height: 10 }) : stroke(curve, "M0 5L26 5"));
    return box;
  }

  function stroke(curve, path) {
    return make("path", { class: "curve", d: path, "stroke-dasharray": curve.dash,
                          style: `--light:${curve.light};--dark:${curve.dark}` });
  }

  class View {
    constructor(chart, panel, index) {
      Object.assign(this, { chart, panel, index, bin: null });
      const last = panel.mass.length - 1;
      this.svg = make("svg", { tabindex: 0, role: "slider", "aria-label": "histogram of " + panel.title,
                               "aria-valuemin": 0, "aria-valuemax": last, "aria-valuenow": 0, "aria-valuetext": "no bin" });
      this.box = make("div", { class: "panel" });
      if (chart.data.panels.length > 1) this.box.append(make("p", { class: "panel-title" }, panel.title));
      this.box.append(this.svg);
      this.svg.addEventListener("pointermove", (event) => this.at(event));
      this.svg.addEventListener("pointerdown", (event) => this.at(event));
      this.svg.addEventListener("pointerleave", () => this.choose(null));
      this.svg.addEventListener("blur", () => this.choose(null));
      this.svg.addEventListener("keydown", (event) => this.key(event, last));
    }

    follow() {
      this.draw();
      new ResizeObserver(() => { if (this.box.clientWidth !== this.width) this.draw(); }).observe(this.box);
    }

    at(event) {
      const place = this.svg.getBoundingClientRect();
      const x = (event.clientX - place.left) * this.width / place.width;
      const bin = this.edges.findIndex((edge, i) => x >= edge && x < this.edges[i + 1]);
      this.choose(bin < 0 ? null : bin);
    }

    key(event, last) {
      const moves = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 };
      let bin = this.bin === null ? (event.key in moves ? 0 : null) : this.bin + (moves[event.key] ?? NaN);
      if (event.key === "Home") bin = 0;
      if (event.key === "End") bin = last;
      if (event.key === "Escape") { this.choose(null); return; }
      if (bin === null || Number.isNaN(bin)) return;
      event.preventDefault();
      this.choose(Math.min(Math.max(bin, 0), last));
    }

    words(bin) {
      const { scalar, edges, title } = this.panel;
      const many = this.chart.data.panels.length > 1 && title !== scalar ? title + ": " : "";
      return `${many}${scalar} in [${plain(edges[bin])}, ${plain(edges[bin + 1])}]`;
    }

    // For who hears the page: the draws, then each law that is shown.
    masses(bin) {
      const { panel } = this;
      const draws = `draws ${fixed(panel.mass[bin])} ± ${fixed(NORMAL95 * panel.mass_se[bin])}`;
      return [draws, ...this.curves().map(({ curve, law }) => `${curve.label} ${fixed(panel.laws[law].mass[bin])}`)];
    }

    choose(bin) {
      if (bin === this.bin) return;
      this.bin = bin;
      this.chart.say(bin === null ? null : this, bin);
      if (bin !== null) {
        this.svg.setAttribute("aria-valuenow", bin);
        this.svg.setAttribute("aria-valuetext", this.words(bin) + ": " + this.masses(bin).join(", "));
      }
      this.mark();
    }

    mark() {
      const on = this.bin !== null;
      this.cursor.setAttribute("visibility", on ? "visible" : "hidden");
      if (!on) return;
      this.cursor.setAttribute("x", this.edges[this.bin]);
      this.cursor.setAttribute("width", this.edges[this.bin + 1] - this.edges[this.bin]);
    }

    curves() {
      return this.chart.data.curves.flatMap((curve, index) => {
        const law = curve.laws.find((each) => each in this.panel.laws);
        return law === undefined || this.chart.hidden.has(index) ? [] : [{ curve, law, index }];
      });
    }

    draw() {
      const { panel, svg } = this;
      this.width = Math.max(this.box.clientWidth, 200);
      const wide = this.width > BESIDE, shown = this.curves();
      const left = wide ? 46 : 54, right = this.width - 8, top = 8, foot = 34;
      const upper = Math.round(this.width * (wide ? 0.44 : 0.5)), gap = 12;
      const lower = Object.keys(panel.laws).length ? (wide ? 96 : 64) : 0;
      const height = top + upper + (lower ? gap + lower : 0) + foot;
      svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
      const first = panel.edges[0], span = panel.edges[panel.edges.length - 1] - first;
      const x = (value) => left + (value - first) / span * (right - left);
      this.edges = panel.edges.map(x);
      this.centres = this.edges.slice(1).map((edge, i) => 0.5 * (edge + this.edges[i]));
      this.cursor = make("rect", { class: "cursor", y: top, height: height - top - foot, visibility: "hidden" });
      svg.replaceChildren(this.cursor);
      this.density(shown, top, top + upper, left, right);
      if (lower) this.residuals(shown, top + upper + gap, height - foot, left, right);
      for (const value of ticks(first, first + span, wide ? 8 : 5)) {
        svg.append(make("text", { x: x(value), y: height - foot + 14, class: "tick middle" }, plain(value)));
        svg.append(make("line", { x1: x(value), x2: x(value), y1: height - foot, y2: height - foot + 4, class: "axis" }));
      }
      svg.append(make("text", { x: 0.5 * (left + right), y: height - 4, class: "tick middle" }, "invariant " + panel.scalar));
      this.mark();
    }

    density(shown, top, bottom, left, right) {
      const { panel, edges } = this;
      const width = panel.mass.map((_, i) => panel.edges[i + 1] - panel.edges[i]);
      const per = (mass) => mass.map((each, i) => each / width[i]);
      const high = per(panel.mass.map((each, i) => each + NORMAL95 * panel.mass_se[i]));
      const low = per(panel.mass.map((each, i) => each - NORMAL95 * panel.mass_se[i]));
      const laws = shown.map(({ law }) => per(panel.laws[law].mass));
      const most = 1.06 * Math.max(...high, ...laws.flat(), 1e-300);
      const y = (value) => bottom - Math.max(value, 0) / most * (bottom - top);
      const steps = (values) => stairs(edges, values.map(y));
      this.axes(top, bottom, left, right, ticks(0, most, 4).map((value) => [value, y(value)]), "density in d" + panel.scalar);
      this.svg.append(make("path", { class: "bar", d: area(steps(per(panel.mass)), [[edges[0], bottom], [edges.at(-1), bottom]]) }));
      this.svg.append(make("path", { class: "band", d: area(steps(high), steps(low)) }));
      shown.forEach(({ curve, index }, i) => {
        const path = stroke(curve, line(laws[i].map((value, bin) => [this.centres[bin], y(value)])));
        path.dataset.curve = index;
        this.svg.append(path);
      });
    }

    // (Law − draws) over the standard error of that, on a scale that is linear near zero and logarithmic far out.
    residuals(shown, top, bottom, left, right) {
      const { panel } = this;
      const values = shown.map(({ law }) => panel.mass.map((_, bin) => beside(panel, law, bin).off ?? NaN));
      const bend = (value) => Math.asinh(value / KNEE);
      const most = Math.max(10, ...values.flat().filter(Number.isFinite).map(Math.abs));
      const y = (value) => 0.5 * (top + bottom) - bend(value) / bend(1.1 * most) * 0.5 * (bottom - top);
      const powers = [10, 100, 1000, 1e4, 1e5].filter((each) => each <= most);
      const far = powers.length > 1 && bottom - top < 90 ? [powers.at(-1)] : powers.slice(-2);
      const marks = [0, ...far, ...far.map((each) => -each)];
      this.svg.append(make("rect", { class: "bar", x: left, width: right - left, y: y(NORMAL95), height: y(-NORMAL95) - y(NORMAL95) }));
      this.axes(top, bottom, left, right, marks.map((value) => [value, y(value)]), "law − draws, s.e.");
      shown.forEach(({ curve, index }, i) => {
        const path = stroke(curve, line(values[i].map((value, bin) => [this.centres[bin], y(value)])));
        path.dataset.curve = index;
        this.svg.append(path);
      });
    }

    axes(top, bottom, left, right, marks, label) {
      for (const [value, y] of marks) {
        this.svg.append(make("line", { x1: left, x2: right, y1: y, y2: y, class: "grid" }));
        this.svg.append(make("text", { x: left - 5, y: y + 3.5, class: "tick end" }, plain(value)));
      }
      this.svg.append(make("path", { class: "axis", d: `M${left} ${top}L${left} ${bottom}L${right} ${bottom}` }));
      const x = 10, y = 0.5 * (top + bottom), short = label.length * 6.2 > bottom - top ? label.split(",")[0] : label;
      this.svg.append(make("text", { x, y, class: "tick middle", transform: `rotate(-90 ${x} ${y})` }, short));
    }
  }

  for (const store of document.querySelectorAll("script[data-picture]")) {
    for (const figure of document.querySelectorAll("figure[data-picture]")) {
      if (figure.dataset.picture === store.dataset.picture) new Chart(figure, JSON.parse(store.textContent));
    }
  }
})();
