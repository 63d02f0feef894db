// What stands in the file: packed parts, columns, details of a cell.

const unpacked = async (id) => {
  const packed = atob(byId(id).textContent);
  const binary = new Uint8Array(packed.length);
  for (let place = 0; place < packed.length; place += 1) binary[place] = packed.charCodeAt(place);
  const stream = new Blob([binary]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};

// A column's value in a row, whichever way the column is kept.
const readable = (column) => ({
  ...column,
  at: column.values ? (row) => column.values[row] : (row) => column.words[column.places[row]],
  lowAt: (row) => column.low?.[row],
  highAt: (row) => column.high?.[row],
});

const readTable = async () => {
  const table = JSON.parse(await unpacked("table"));
  table.columns = table.columns.map(readable);
  table.column = Object.fromEntries(table.columns.map((column) => [column.key, column]));
  table.group = (row) => table.groups.words[table.groups.places[row]];
  for (const measure of table.measures) measure.onFront = new Set(measure.front);
  return table;
};

const blocksRead = new Map();

const readDetails = async (table, row) => {
  const number = Math.floor(row / table.block);
  if (!blocksRead.has(number)) blocksRead.set(number, JSON.parse(await unpacked(`details-${number}`)));
  const block = blocksRead.get(number);
  const place = row % table.block;
  const fields = { ...block.same };
  for (const [name, values] of Object.entries(block.each)) {
    if (values[place] != null) fields[name] = values[place];
  }
  return {
    fields,
    command: block.commands[place],
    environment: block.environments[place],
    moving: block.moving[place],
    tensors: { ...block.tensors, first: block.tensors.starts[place], count: block.tensors.starts[place + 1] - block.tensors.starts[place] },
    left: block.left[place],
  };
};
