"use strict";
// Everything that comes from the model reaches the page through `text` and attributes: never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const FATES = DATA.fates;
const LETTERS = ["A", "M", "P", "R", "F", "W", "N", "L"];
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  return filled(made, attributes, children);
}

function shape(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) made.setAttribute(key, String(value));
  }
  for (const child of children) {
    if (child !== undefined && child !== null) made.append(child instanceof Node ? child : String(child));
  }
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function formatted(value) {
  if (typeof value !== "number") return value === null || value === undefined ? "" : String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(5)));
}

function counted(value) {
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of units) if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  return String(value);
}

// Headings with ">" before them are of columns of numbers; a row is an array, or { cells, pick } where it can be chosen.
function table(caption, headings, rows, onChoose) {
  const head = element("tr", {});
  for (const text of headings) {
    head.append(element("th", { scope: "col", class: text.startsWith(">") ? "r" : null }, text.replace(">", "")));
  }
  const body = element("tbody", {});
  for (const row of rows) {
    const line = element("tr", row.pick === undefined ? {} : { class: "go", tabindex: 0, "data-pick": row.pick });
    (row.cells || row).forEach((cell, place) => {
      const right = headings[place].startsWith(">");
      const shownCell = cell instanceof Node ? cell : formatted(cell);
      line.append(place === 0 ? element("th", { scope: "row" }, shownCell) : element("td", { class: right ? "r" : null }, shownCell));
    });
    body.append(line);
  }
  const made = element("table", {}, element("caption", {}, caption), element("thead", {}, head), body);
  if (onChoose) {
    const chosen = (event) => {
      const line = event.target.closest("tr.go");
      if (line) onChoose(Number(line.dataset.pick));
    };
    made.addEventListener("click", chosen);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") chosen(event); });
  }
  return made;
}

function badge(fate) {
  return element("span", { class: `badge f${fate}` }, `${LETTERS[fate]} ${FATES[fate]}`);
}

const NAME = 0, OP_BEFORE = 1, OP_AFTER = 2, FATE = 3, CHANGED = 4, SHAPE_BEFORE = 5, SHAPE_AFTER = 6;

function operatorOf(node, side) {
  const entry = DATA.nodes[node];
  const own = entry[side === 1 ? OP_BEFORE : OP_AFTER];
  return own < 0 ? null : DATA.texts[own];
}

function titleOf(node) {
  return operatorOf(node, 1) || operatorOf(node, 2) || "";
}
