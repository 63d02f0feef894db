// Elements, numbers and symbols. Text reaches the page through text nodes and attributes alone, never as markup.

const element = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
};

const isWide = () => matchMedia("(min-width: 40rem)").matches;

// A control under its label.
const field = (name, control, kind = "") => {
  control.id ||= `field-${name.toLowerCase().replace(/\W+/g, "-")}`;
  return element("div", { class: `field ${kind}` }, element("label", { for: control.id }, name), control);
};

const byId = (id) => document.getElementById(id);

const whole = (number) => Math.round(number).toLocaleString("en");

const shortNumber = (number) => {
  const size = Math.abs(number);
  if (size === 0) return "0";
  if (Number.isInteger(number) && size < 1e6) return number.toLocaleString("en");
  if (size >= 1e6 || size < 1e-3) return number.toExponential(2);
  if (size >= 100) return whole(number);
  return String(Number(number.toPrecision(size >= 10 ? 3 : 4)));
};

const bytes = (number) => {
  if (number < 1e4) return `${whole(number)} B`;
  const power = Math.min(4, Math.floor(Math.log10(number) / 3));
  return `${Number((number / 10 ** (3 * power)).toPrecision(4))} ${["B", "kB", "MB", "GB", "TB"][power]}`;
};

const formatted = (column, value) => {
  if (value == null || value === "") return "";
  if (column.kind !== "number") return String(value);
  if (column.unit === "bytes") return bytes(value);
  if (column.key === "ratio") return value.toFixed(4);
  return shortNumber(value);
};

const interval = (low, high) => (low == null || high == null ? "" : `[${shortNumber(low)}, ${shortNumber(high)}]`);

const counted = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

// The markers of the pictures, in a square from −1 to 1.
const SHAPES = {
  circle: "M0-.9A.9.9 0 1 1 0 .9A.9.9 0 1 1 0-.9Z",
  square: "M-.8-.8H.8V.8H-.8Z",
  diamond: "M0-1L.75 0L0 1L-.75 0Z",
  plus: "M-.3-.9H.3V-.3H.9V.3H.3V.9H-.3V.3H-.9V-.3H-.3Z",
  square_pin: "M-.8-.8Q0-.4 .8-.8Q.4 0 .8 .8Q0 .4-.8 .8Q-.4 0-.8-.8Z",
  cross: "M-.9 0H.9M0-.9V.9",
  x: "M-.7-.7L.7 .7M-.7 .7L.7-.7",
  star: "M0-1L.25-.3H.95L.4.15L.6.85L0 .4L-.6.85L-.4.15L-.95-.3H-.25Z",
  hex: "M-.5-.87H.5L1 0L.5.87H-.5L-1 0Z",
  triangle: "M0-.9L.9.7H-.9Z",
  inverted_triangle: "M0 .9L.9-.7H-.9Z",
  dash: "M-.9 0H.9",
};
const LINES = new Set(["cross", "x", "dash"]); // markers without an inside, drawn in the system's colour

const symbol = (look) => {
  const space = "http://www.w3.org/2000/svg";
  const drawn = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [name, value] of [["viewBox", "-1.2 -1.2 2.4 2.4"], ["class", "symbol"], ["aria-hidden", "true"]]) {
    drawn.setAttribute(name, value);
  }
  path.setAttribute("d", SHAPES[look.marker]);
  path.setAttribute("fill", look.colour);
  if (LINES.has(look.marker)) path.setAttribute("style", `stroke: ${look.colour}; stroke-width: .35`);
  path.setAttribute("transform", `rotate(${(-look.angle * 180) / Math.PI})`);
  drawn.append(path);
  return drawn;
};
