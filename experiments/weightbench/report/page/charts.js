// The pictures: Bokeh's documents, given the rows that the filters leave. Bokeh itself is unpacked last, so that
// the table can be used meanwhile.

const LINEAR_NATS = 1e-4; // below, the axis of losses is linear: differences that small are noise

// From a value to its place on the picture's axis (of speeds the axis itself is logarithmic).
const SCALES = {
  speed: (value) => value,
  accuracy: (value) => value,
  nats: (value) => Math.asinh(value / LINEAR_NATS),
};

const spread = (range, values, logarithmic) => {
  const there = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  if (!there.length) return;
  const [to, from] = logarithmic ? [Math.log, Math.exp] : [(value) => value, (value) => value];
  const low = to(there.reduce((a, b) => Math.min(a, b)));
  const high = to(there.reduce((a, b) => Math.max(a, b)));
  const margin = 0.06 * (high - low) || 0.1 * Math.abs(low) || 0.1;
  const [start, end] = [from(low - margin), from(high + margin)];
  range.setv({ start, end, reset_start: start, reset_end: end });
};

const loadLibrary = async () => {
  const script = element("script");
  script.textContent = await unpacked("library");
  document.head.append(script);
  Bokeh.logger.set_level("warn");
};

class Picture {
  // measures: those that can be drawn here; legend: the systems' looks; open: row → nothing.
  constructor(place, made, table, open) {
    Object.assign(this, { made, table, open, scale: SCALES[made.name] });
    this.measures = table.measures.filter((measure) => measure.picture === made.name);
    this.measure = this.measures[0];
    const options = this.measures.map((measure, number) => element("option", { value: number }, measure.title));
    const changed = (event) => {
      this.measure = this.measures[Number(event.target.value)];
      this.draw();
    };
    const select = element("select", { "aria-label": `what is set against the ratio in: ${made.title}`, onchange: changed }, ...options);
    this.plot = element("div", { class: "plot", id: `plot-${made.name}` });
    this.list = element("ol", { class: "front" });
    const listed = element("details", {}, element("summary", {}, "Not beaten in both directions, as a list"), this.list);
    place.append(element("figure", {}, element("figcaption", {}, element("h3", {}, made.title), select), this.plot, listed));
  }

  async embed() {
    await Bokeh.embed.embed_item(this.made.item, this.plot.id);
    this.document = Bokeh.documents.at(-1);
    [this.root] = this.document.roots();
    this.points = this.named("points");
    this.points.selected.properties.indices.change.connect(() => {
      const [first] = this.points.selected.indices;
      if (first === undefined) return;
      this.points.selected.indices = [];
      this.open(this.points.data.row[first]);
    });
    this.paint();
    this.draw();
  }

  named(name) {
    return this.document.get_model_by_name(name);
  }

  show(rows, group) {
    this.rows = rows.filter((row) => this.table.group(row) === group);
    this.draw();
  }

  draw() {
    const { measure, table, scale } = this;
    const rows = (this.rows ?? []).filter((row) => measure.values[row] != null && table.column.ratio.at(row) != null);
    const front = rows.filter((row) => measure.onFront.has(row)).sort((a, b) => table.column.ratio.at(a) - table.column.ratio.at(b));
    this.list.replaceChildren(...front.map((row) => {
      const text = `${table.column.label.at(row)}, ${table.column.granularity.at(row)}: ratio ${table.column.ratio.at(row).toFixed(4)}, ${this.said(row)}`;
      return element("li", {}, element("button", { type: "button", class: "open", onclick: () => this.open(row) }, text));
    }));
    if (!this.root) return;
    const to = (value) => (value == null ? NaN : scale(value));
    const look = (row) => table.looks[table.column.system.at(row)];
    const single = (row) => this.made.name === "speed" && measure.low[row] == null;
    this.points.data = {
      row: rows,
      x: rows.map((row) => table.column.ratio.at(row)),
      y: rows.map((row) => to(measure.values[row])),
      low: rows.map((row) => to(measure.low[row])),
      high: rows.map((row) => to(measure.high[row])),
      colour: rows.map((row) => look(row).colour),
      marker: rows.map((row) => look(row).marker),
      angle: rows.map((row) => look(row).angle),
      edge: rows.map((row) => (LINES.has(look(row).marker) ? look(row).colour : this.ink)),
      fill: rows.map((row) => (single(row) ? 0.25 : 0.95)),
      label: rows.map((row) => `${table.column.label.at(row)}, ${table.column.granularity.at(row)}`),
      size: rows.map((row) => table.column.ratio.at(row).toFixed(4)),
      value: rows.map((row) => this.said(row)),
    };
    this.named("front").data = {
      x: front.map((row) => table.column.ratio.at(row)),
      y: front.map((row) => to(measure.values[row])),
    };
    const [value] = measure.reference ?? [null];
    this.named("reference").location = value == null ? null : to(value);
    const { data } = this.points;
    spread(this.root.x_range, [1, ...data.x], true);
    spread(this.root.y_range, [...data.y, ...data.low, ...data.high, to(measure.reference?.[0])], this.made.name === "speed");
    const [axis] = this.root.left;
    axis.axis_label = measure.title + (measure.reference ? `  (dotted: ${measure.reference[1]})` : "");
    if (this.made.name === "nats") this.mark(axis, rows);
  }

  said(row) {
    const { values, low, high, title } = this.measure;
    const limits = interval(low[row], high[row]);
    const unsure = this.made.name === "speed" && !limits ? " (no interval: too few rounds)" : "";
    return `${shortNumber(values[row])}${limits ? ` ${limits}` : ""} ${title}${unsure}`;
  }

  // Powers of ten in both directions, on an axis that is linear near zero.
  mark(axis, rows) {
    const largest = Math.max(LINEAR_NATS, ...rows.map((row) => Math.abs(this.measure.high[row] ?? this.measure.values[row])));
    const powers = [];
    for (let power = LINEAR_NATS; power <= largest * 10; power *= 10) powers.push(power);
    const marks = [...powers.map((power) => -power).reverse(), 0, ...powers];
    axis.ticker.ticks = marks.map(this.scale);
    axis.major_label_overrides = new Map(marks.map((value) => [this.scale(value), value === 0 ? "0" : value.toExponential(0)]));
  }

  // The page's colours, light or dark.
  paint() {
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, line] = ["--ink", "--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
    const { root } = this;
    this.ink = ink;
    root.setv({ background_fill_color: null, border_fill_color: null, outline_line_color: line });
    for (const axis of [...root.left, ...root.below]) {
      axis.setv({ axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: quiet, major_tick_line_color: quiet, minor_tick_line_color: line });
    }
    for (const part of root.center) {
      if (part.type === "Grid") part.grid_line_color = line;
      if (part.type === "Span") part.line_color = quiet;
    }
    for (const renderer of root.renderers) {
      if (renderer.name === "line") renderer.glyph.line_color = { value: ink };
    }
  }
}

class Pictures {
  constructor(table, filters, open) {
    Object.assign(this, { table, filters });
    const groups = [...table.groups.words].sort();
    const options = groups.map((group) => element("option", { value: group }, group));
    this.select = element("select", { onchange: () => this.draw() }, ...options);
    this.chips = element("div", { class: "chips", role: "group", "aria-label": "Systems in the pictures: press to see one alone" });
    byId("legend").append(field("Weights", this.select), this.chips);
    this.pictures = table.pictures.map((made) => new Picture(byId("plots"), made, table, open));
    if (!this.pictures.length) byId("plots").append(element("p", { class: "quiet" }, "No cell has anything to draw."));
  }

  async embed() {
    for (const picture of this.pictures) await picture.embed();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const picture of this.pictures) {
        picture.paint();
        picture.draw();
      }
    });
  }

  show(rows) {
    this.rows = rows;
    const drawable = rows.filter((row) => this.table.column.ratio.at(row) != null);
    const systems = new Map();
    for (const row of drawable) {
      const group = this.table.group(row);
      if (!systems.has(group)) systems.set(group, new Set());
      systems.get(group).add(this.table.column.system.at(row));
    }
    if (!systems.has(this.select.value) || !this.settled) {
      const [best] = [...systems].sort(([, a], [, b]) => b.size - a.size);
      if (best) this.select.value = best[0];
      this.settled = true;
    }
    this.draw();
  }

  draw() {
    const group = this.select.value;
    const { column, looks } = this.table;
    const present = new Set();
    for (let row = 0; row < this.table.rows; row += 1) {
      if (this.table.group(row) === group && column.ratio.at(row) != null) present.add(column.system.at(row));
    }
    const alone = this.filters.chosen("system");
    this.chips.replaceChildren(...[...present].sort().map((system) => {
      const pressed = alone === system;
      const toggled = () => {
        this.filters.choose("system", pressed ? null : system);
        [...this.chips.children].find((chip) => chip.textContent === system)?.focus();
      };
      return element("button", { type: "button", "aria-pressed": String(pressed), onclick: toggled }, symbol(looks[system]), system);
    }));
    for (const picture of this.pictures) picture.show(this.rows, group);
  }
}
