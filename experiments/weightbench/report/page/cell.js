// One cell: how to run it again, its numbers with their intervals, its tensors, its environment, every field.

const parsed = (fields, name) => (fields[name] ? JSON.parse(fields[name]) : []);

const pairs = (entries) => element("dl", {}, ...entries.filter(([, value]) => value != null && value !== "").flatMap(
  ([name, value]) => [element("dt", {}, name), element("dd", {}, value)],
));

const simple = (titles, lines) => element("div", { class: "scroller" }, element("table", {},
  element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", { scope: "col", class: title ? "number" : null }, title)))),
  element("tbody", {}, ...lines.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((text) => element("td", { class: "number" }, text))))),
));

const command = (text) => {
  const code = element("code", { tabindex: "0" }, text);
  const copied = async (event) => {
    getSelection().selectAllChildren(code);
    // Pages opened from a file may have no clipboard; then the selected text can be copied by hand.
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    event.target.textContent = done ? "Copied" : "Selected";
  };
  return element("div", { class: "command" }, element("pre", {}, code), element("button", { type: "button", onclick: copied }, "Copy"));
};

const sizes = (fields) => {
  const of = (name) => fields[`result.sizes.${name}_bytes`];
  if (of("stored") == null) return [];
  const parts = ["payload", "side", "literals", "index"].filter((name) => of(name) != null);
  const lines = [["raw", bytes(of("raw")), "100 %"], ["stored", bytes(of("stored")), percent(of("stored"), of("raw"))]];
  lines.push(...parts.map((name) => [`  of it ${name}`, bytes(of(name)), percent(of(name), of("raw"))]));
  return [element("h3", {}, "Size"), simple(["", "bytes", "of raw"], lines)];
};

const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(2)} %` : "");

const speeds = (fields) => {
  const lines = [];
  for (const what of ["encode", "decode", "memcpy_fresh", "memcpy_reused"]) {
    const of = (name) => fields[`result.speed.${what}.${name}`];
    if (of("mb_per_s.median") == null) continue;
    const share = "share_of_memcpy_fresh";
    lines.push([
      what.replace("_", " "), shortNumber(of("mb_per_s.median")), interval(of("mb_per_s.ci_low"), of("mb_per_s.ci_high")),
      `${shortNumber(of("mb_per_s.min"))} – ${shortNumber(of("mb_per_s.max"))}`, String(of("mb_per_s.n")),
      of(`${share}.median`) == null ? "" : `${shortNumber(of(`${share}.median`))} ${interval(of(`${share}.ci_low`), of(`${share}.ci_high`))}`,
    ]);
  }
  if (!lines.length) return [];
  const flags = parsed(fields, "result.speed.flags").map((flag) => element("li", {}, flag));
  return [
    element("h3", {}, "Speed"),
    simple(["", "MB/s", "95 % interval", "least – most", "rounds", "× memcpy"], lines),
    flags.length ? element("p", {}, "What speaks against these speeds:") : null,
    flags.length ? element("ul", {}, ...flags) : null,
  ];
};

const accuracy = (fields) => {
  const lines = parsed(fields, "result.evaluation.changes").map((change) => [
    `${change.task} ${change.metric}`, shortNumber(change.before), shortNumber(change.after),
    shortNumber(change.difference), change.interval ? interval(change.interval.low, change.interval.high) : "", whole(change.n),
  ]);
  const more = [["divergence", "mean", "KL divergence, nats a token"], ["likelihood", "difference", "log-likelihood, nats a token"]];
  for (const [part, name, title] of more) {
    const of = (key) => fields[`result.evaluation.${part}.${key}`];
    if (of(name) != null) lines.push([title, "", "", shortNumber(of(name)), interval(of("interval.low"), of("interval.high")), whole(of("tokens"))]);
  }
  const reason = fields["result.evaluation.reason"];
  if (!lines.length) return reason ? [element("h3", {}, "Accuracy"), element("p", {}, `Not evaluated: ${reason}.`)] : [];
  return [element("h3", {}, "Accuracy"), simple(["", "before", "after", "difference", "95 % interval", "samples"], lines)];
};

const wentWrong = (fields) => {
  if (fields.status === "ok") return [];
  const told = [element("h3", {}, "What went wrong"), element("p", { class: "alarm" }, fields.reason ?? fields["error.message"] ?? fields.status)];
  if (fields["error.traceback"]) told.push(element("pre", { tabindex: "0" }, fields["error.traceback"]));
  return told;
};

const tensorTable = (details) => {
  const { tensors, left } = details;
  const place = element("div");
  const heading = element("h3", {}, "Tensors");
  if (!tensors.count && !left) return [];
  if (left) {
    return [heading, element("p", {}, `${counted(left, "record")} left out, to keep the file small: write the report with --where or a larger --max-tensors.`)];
  }
  const seconds = { unit: "s", kind: "number" };
  const columns = [
    { key: "key", title: "Tensor", kind: "text" }, { key: "format", title: "Format", kind: "choice" }, { key: "codec", title: "Coded by", kind: "choice" },
    { key: "raw_bytes", title: "Raw", unit: "bytes", kind: "number" }, { key: "stored_bytes", title: "Stored", unit: "bytes", kind: "number" },
    { key: "side_bytes", title: "Side", unit: "bytes", kind: "number", shown: false },
    { key: "encode_seconds", title: "Encode", ...seconds }, { key: "decode_seconds", title: "Decode", ...seconds }, { key: "memcpy_seconds", title: "memcpy", ...seconds },
  ].filter((column) => tensors[column.key]).map((column) => readable({ ...column, ...tensors[column.key] }));
  const [raw, stored] = ["raw_bytes", "stored_bytes"].map((key) => columns.find((column) => column.key === key));
  const ratio = { key: "ratio", title: "Ratio", kind: "number", at: (row) => (stored.at(row) ? raw.at(row) / stored.at(row) : null) };
  columns.splice(columns.indexOf(stored) + 1, 0, ratio);
  const table = new Table(place, columns, { caption: "tensors of the cell", header: "key", size: 25 });
  table.show(Array.from({ length: tensors.count }, (_, place) => tensors.first + place));
  return [heading, place];
};

const openCell = async (table, row) => {
  const dialog = byId("cell");
  const details = await readDetails(table, row);
  const { fields } = details;
  const environment = table.environments[details.environment];
  const close = element("button", { type: "button", class: "close", onclick: () => dialog.close(), "aria-label": "close" }, "✕");
  const known = Object.entries(fields).filter(([, value]) => value != null).sort(([a], [b]) => a.localeCompare(b, "en"));
  const note = fields["result.model.note"];
  dialog.replaceChildren(...[
    element("header", {}, element("h2", { id: "cell-title" }, `${table.column.label.at(row)} on ${table.group(row)}`), close),
    pairs([["status", fields.status], ["granularity", table.column.granularity.at(row)], ["ratio", fields["result.sizes.ratio"]?.toFixed(4)], ["finished", fields.finished], ["note", note], ["row", fields.id]]),
    ...wentWrong(fields),
    element("h3", {}, "Run it again"),
    command(details.command),
    details.command.includes("/path/to/") ? element("p", {}, "In place of /path/to put where these weights lie: the row does not say.") : null,
    element("p", { class: "quiet" }, `From the repository's root, at revision ${details.moving["git.revision"] ?? "unknown"}${details.moving["git.dirty"] ? " with uncommitted changes" : ""}; the weights were ${fields["cell.model.revision"] ?? "unknown"}. A cell that is done is run again with force=true.`),
    ...sizes(fields), ...speeds(fields), ...accuracy(fields), ...tensorTable(details),
    element("details", {}, element("summary", {}, `Environment ${details.environment + 1}, and what the machine did then`), pairs([...Object.entries(environment.fields), ...Object.entries(details.moving)].map(([name, value]) => [name, String(value)]))),
    element("details", {}, element("summary", {}, `All ${known.length} fields of the row`), pairs(known.map(([name, value]) => [name, String(value)]))),
  ].filter(Boolean));
  dialog.showModal();
  dialog.scrollTop = 0;
};
