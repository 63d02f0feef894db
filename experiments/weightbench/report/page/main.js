// Puts the page together.

const describe = (table) => {
  const ok = table.column.status.words.indexOf("ok");
  const good = ok < 0 ? 0 : table.column.status.places.filter((place) => place === ok).length;
  const newest = table.column.finished.words.reduce((latest, time) => (time > latest ? time : latest), "");
  const where = table.where.length ? `, where ${table.where.join(" and ")}` : "";
  const systems = Object.keys(table.looks).length;
  byId("about").textContent = `${counted(table.rows, "cell")} of ${table.stores.join(", ")}${where}; ${whole(good)} ok; ${counted(systems, "system")}; the newest finished ${newest.slice(0, 16).replace("T", " ")} UTC.`;
};

const listFailures = (table, open) => {
  const columns = ["label", "status", "reason", "model", "workload", "granularity"].map((key) => ({ ...table.column[key], shown: true, narrow: undefined }));
  const wrong = [];
  for (let row = 0; row < table.rows; row += 1) if (table.column.status.at(row) !== "ok") wrong.push(row);
  if (!wrong.length) {
    byId("failures-table").append(element("p", { class: "quiet" }, "Everything worked."));
    return;
  }
  new Table(byId("failures-table"), columns, { caption: "cells that are not ok", header: "label", size: 25, open }).show(wrong);
};

const listEnvironments = (table) => {
  byId("environments-list").append(...table.environments.map(({ fields, cells }, number) => {
    const cpu = [fields["cpu.model"], fields["cpu.cores"] && counted(fields["cpu.cores"], "core"), fields["memory.total_bytes"] && bytes(fields["memory.total_bytes"])];
    const python = fields.python ? `Python ${fields.python}` : null;
    const summary = `Environment ${number + 1}, ${counted(cells, "cell")}: ${[...cpu, python].filter(Boolean).join(", ")}`;
    return element("details", {}, element("summary", {}, summary), pairs(Object.entries(fields).map(([name, value]) => [name, String(value)])));
  }));
};

const start = async () => {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for the report (it has no DecompressionStream)");
  const table = await readTable();
  const fail = (error) => {
    byId("alarm").textContent = `The report could not be shown: ${error.message}`;
    byId("alarm").hidden = false;
  };
  const open = (row) => openCell(table, row).catch(fail);
  describe(table);
  const mark = (row) => symbol(table.looks[table.column.system.at(row)]);
  const cells = new Table(byId("cells-table"), table.columns, { caption: "cells", header: "label", choose: true, open, mark, empty: "No cell is like that." });
  const filters = new Filters(byId("filters"), table, (rows) => {
    cells.show(rows);
    pictures.show(rows);
  });
  const pictures = new Pictures(table, filters, open);
  filters.apply();
  listFailures(table, open);
  listEnvironments(table);
  addEventListener("beforeprint", () => cells.unfold());
  addEventListener("afterprint", () => cells.fold());
  document.documentElement.dataset.ready = "table";
  if (pictures.pictures.length) {
    await loadLibrary();
    await pictures.embed();
  }
  document.documentElement.dataset.ready = "pictures";
};

start().catch((error) => {
  byId("alarm").textContent = `The report could not be shown: ${error.message}`;
  byId("alarm").hidden = false;
});
