// Which rows are looked at: words, comparisons (ratio>1.5), a menu for each column of few different words.

const COMPARISON = /^([a-z_]+)(<=|>=|=|<|>)(.+)$/;

const comparison = (table, word) => {
  const [, key, sign, text] = COMPARISON.exec(word) ?? [];
  const column = key && table.column[key];
  if (!column) return null;
  const wanted = column.kind === "number" ? Number(text) : text;
  if (Number.isNaN(wanted)) return null;
  const value = (row) => (column.kind === "number" ? column.at(row) : String(column.at(row)).toLowerCase());
  const signs = { "<": (a) => a < wanted, ">": (a) => a > wanted, "<=": (a) => a <= wanted, ">=": (a) => a >= wanted, "=": (a) => a === wanted };
  return (row) => value(row) != null && signs[sign](value(row));
};

class Filters {
  constructor(form, table, changed) {
    Object.assign(this, { table, changed, choices: new Map(), words: "" });
    const texts = table.columns.filter((column) => column.kind !== "number");
    this.haystack = (row) => texts.map((column) => column.at(row)).join("\n").toLowerCase();
    this.kept = [];
    let waiting = 0;
    this.search = element("input", {
      type: "search", id: "words", autocomplete: "off", spellcheck: "false", placeholder: "words, or ratio>1.5",
      oninput: () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => this.apply(), 120);
      },
    });
    this.menus = table.columns.filter((column) => column.kind === "choice" && column.words.length > 1).map((column) => this.menu(column));
    this.count = element("output", { for: "words", role: "status", "aria-live": "polite" });
    const keys = table.columns.map((column) => column.key).join(", ");
    form.replaceChildren(
      field("Search", this.search, "wide"),
      element("button", { type: "reset" }, "Show all"),
      this.count,
      element("details", { class: "menus", open: isWide() },
        element("summary", {}, "Filters"), element("div", {}, ...this.menus.map((menu) => menu.field))),
      element("details", { class: "help" }, element("summary", {}, "What one can type"),
        element("p", {}, "Words that all have to stand somewhere in a row, and comparisons without spaces such as ratio>1.5, decode_share>=0.2 or model=llama. Names: ", element("code", {}, keys), ".")),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => this.apply(), 0));
  }

  menu(column) {
    const words = [...column.words].sort(new Intl.Collator("en", { numeric: true }).compare);
    const options = words.map((word) => element("option", { value: `=${word}` }, word || "(none)"));
    const select = element("select", { onchange: () => this.apply() }, element("option", { value: "" }, "all"), ...options);
    return { column, select, field: field(column.title, select) };
  }

  // Restrict to a word of a column, or with null to none.
  choose(key, word) {
    const menu = this.menus.find((each) => each.column.key === key);
    if (!menu) return;
    menu.select.value = word == null ? "" : `=${word}`;
    this.apply();
  }

  chosen(key) {
    const menu = this.menus.find((each) => each.column.key === key);
    return menu?.select.value ? menu.select.value.slice(1) : null;
  }

  apply() {
    const tests = [];
    for (const { column, select } of this.menus) {
      if (!select.value) continue;
      const place = column.words.indexOf(select.value.slice(1));
      tests.push((row) => column.places[row] === place);
    }
    for (const word of this.search.value.toLowerCase().split(/\s+/).filter(Boolean)) {
      tests.push(comparison(this.table, word) ?? ((row) => this.haystack(row).includes(word)));
    }
    this.kept = [];
    for (let row = 0; row < this.table.rows; row += 1) {
      if (tests.every((test) => test(row))) this.kept.push(row);
    }
    this.count.textContent = `${whole(this.kept.length)} of ${counted(this.table.rows, "cell")}`;
    this.changed(this.kept);
  }
}
