// A table of many rows: sorted by any column, a page at a time, columns to choose. Headers are buttons.

class Table {
  // columns: see readable; options: caption, open (row → nothing; makes the first column buttons), header
  // (key of the column that names a row), sizes of pages, choose (whether columns can be chosen).
  constructor(place, columns, options) {
    Object.assign(this, { columns, options, rows: [], page: 0, size: options.size ?? 50, sort: null });
    this.header = columns.find((column) => column.key === options.header) ?? columns[0];
    this.shown = new Set(columns.filter((column) => (isWide() ? column.shown : column.narrow) ?? true).map((column) => column.key));
    this.shown.add(this.header.key);
    this.head = element("tr");
    this.body = element("tbody");
    const caption = element("caption", { class: "hidden" }, options.caption);
    this.table = element("table", {}, caption, element("thead", {}, this.head), this.body);
    const scroller = element("div", { class: "scroller", role: "region", tabindex: "0", "aria-label": options.caption }, this.table);
    place.replaceChildren(...(options.choose ? [this.chooser()] : []), scroller, this.pager());
    this.drawHead();
  }

  show(rows) {
    this.rows = [...rows];
    this.page = 0;
    this.order();
    this.drawBody();
  }

  visible() {
    return [this.header, ...this.columns.filter((column) => column !== this.header && this.shown.has(column.key))];
  }

  order() {
    if (!this.sort) return;
    const { column, down } = this.sort;
    const sign = down ? -1 : 1;
    const compared = column.kind === "number" ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
    const empty = (value) => value == null || value === "";
    const keyed = this.rows.map((row) => [column.at(row), row]);
    keyed.sort(([a, rowA], [b, rowB]) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b) || rowA - rowB;
      return sign * compared(a, b) || rowA - rowB;
    });
    this.rows = keyed.map(([, row]) => row);
  }

  sortBy(column) {
    const first = column.kind === "number";
    this.sort = { column, down: this.sort?.column === column ? !this.sort.down : first };
    this.page = 0;
    this.order();
    this.drawHead();
    this.drawBody();
    this.head.querySelector(`[data-key="${CSS.escape(column.key)}"]`).focus();
  }

  drawHead() {
    this.head.replaceChildren(...this.visible().map((column) => {
      const sorted = this.sort?.column === column;
      const direction = sorted ? (this.sort.down ? "descending" : "ascending") : "none";
      const unit = column.unit && column.unit !== "bytes" ? element("small", {}, ` ${column.unit}`) : null;
      const arrow = element("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (this.sort.down ? "▼" : "▲") : "");
      const button = element("button", { type: "button", "data-key": column.key, onclick: () => this.sortBy(column) }, column.title, unit, arrow);
      return element("th", { scope: "col", "aria-sort": direction, class: column.kind }, button);
    }));
  }

  drawBody() {
    const start = this.page * this.size;
    const columns = this.visible();
    this.body.replaceChildren(...this.rows.slice(start, start + this.size).map((row) => this.line(row, columns)));
    if (!this.rows.length) {
      this.body.append(element("tr", {}, element("td", { colspan: columns.length, class: "quiet" }, this.options.empty ?? "No rows.")));
    }
    this.drawPager();
  }

  line(row, columns) {
    const open = this.options.open && (() => this.options.open(row));
    const cells = columns.map((column) => {
      const text = formatted(column, column.at(row));
      if (column === this.header) {
        const name = open ? element("button", { type: "button", class: "open", onclick: open }, this.options.mark?.(row), text) : text;
        return element("th", { scope: "row" }, name);
      }
      const limits = column.lowAt ? interval(column.lowAt(row), column.highAt(row)) : "";
      const state = column.key === "status" ? ` status-${text}` : "";
      const exact = column.unit === "bytes" && text ? `${whole(column.at(row))} bytes` : column.kind === "choice" ? text : null;
      return element("td", { class: column.kind + state, title: exact }, text, limits ? element("small", {}, ` ${limits}`) : null);
    });
    return element("tr", {}, ...cells);
  }

  pager() {
    const button = (label, title, act) => element("button", { type: "button", "aria-label": title, onclick: act }, label);
    this.back = button("‹", `previous page of ${this.options.caption}`, () => this.turn(this.page - 1));
    this.next = button("›", `next page of ${this.options.caption}`, () => this.turn(this.page + 1));
    this.range = element("span", { role: "status" });
    const choices = [25, 50, 100, 500].map((size) => element("option", { value: size, selected: size === this.size }, `${size} rows`));
    const changed = (event) => {
      this.size = Number(event.target.value);
      this.turn(0);
    };
    this.sizes = element("select", { "aria-label": `rows on a page of ${this.options.caption}`, onchange: changed }, ...choices);
    this.bar = element("div", { class: "pager" }, this.back, this.range, this.next, this.sizes);
    return this.bar;
  }

  turn(page) {
    this.page = Math.max(0, Math.min(page, Math.ceil(this.rows.length / this.size) - 1));
    this.drawBody();
  }

  drawPager() {
    const first = this.page * this.size;
    const last = Math.min(first + this.size, this.rows.length);
    this.range.textContent = this.rows.length ? `${whole(first + 1)}–${whole(last)} of ${whole(this.rows.length)}` : "";
    // A disabled button would lose the focus of whoever pages by keyboard.
    this.back.setAttribute("aria-disabled", this.page === 0);
    this.next.setAttribute("aria-disabled", last >= this.rows.length);
    this.bar.hidden = this.rows.length <= 25;
  }

  chooser() {
    const boxes = this.columns.filter((column) => column !== this.header).map((column) => {
      const changed = (event) => {
        this.shown[event.target.checked ? "add" : "delete"](column.key);
        this.drawHead();
        this.drawBody();
      };
      const box = element("input", { type: "checkbox", checked: this.shown.has(column.key), onchange: changed });
      return element("label", {}, box, ` ${column.title}${column.unit ? `, ${column.unit}` : ""}`);
    });
    return element("details", { class: "chooser" }, element("summary", {}, "Columns"), element("div", {}, ...boxes));
  }

  // All rows at once, up to as many as a printer should get.
  unfold() {
    this.folded = this.size;
    this.size = 1000;
    this.turn(0);
  }

  fold() {
    this.size = this.folded;
    this.turn(0);
  }
}
