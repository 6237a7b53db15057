// Figures beside the graph: cards, bars, errors, ranges, tables.
function card(value, label, kind) {
  return element("div", { class: kind ? `card ${kind}` : "card" }, element("b", {}, value), element("span", {}, label));
}

function drawCards() {
  const cards = byId("cards");
  const counts = FATES.map((_, fate) => DATA.norms.filter((norm) => norm.fate === fate).length);
  cards.append(card(DATA.account.join(" → "), "normalizations"));
  counts.forEach((count, fate) => { if (count) cards.append(card(count, `${FATES[fate]}`)); });
  const [before, after] = DATA.costs;
  cards.append(card(`${before.nodes} → ${after.nodes}`, "nodes"));
  const verdict = DATA.verification;
  if (verdict) cards.append(card(verdict.passed ? "passed" : "failed", "verification", verdict.passed ? "good" : "bad"));
  else cards.append(card("not verified", "verification", "bad"));
  for (const note of DATA.notes) byId("notes").append(element("li", {}, note));
}

function bars(title, rows, format) {
  const width = 460, left = 150, line = 34;
  const most = Math.max(...rows.flatMap((row) => row.slice(1)), 1e-30);
  const svg = shape("svg", { width, height: rows.length * line + 24, role: "img", "aria-label": `${title}; the tables below have the numbers` });
  svg.append(shape("text", { x: 0, y: 14 }, title));
  rows.forEach((row, place) => {
    const y = 24 + place * line;
    svg.append(shape("text", { x: 0, y: y + 17 }, cut(row[0], 22)));
    row.slice(1).forEach((value, which) => {
      const wide = Math.max(value > 0 ? 1 : 0, ((width - left - 90) * value) / most);
      svg.append(shape("rect", { class: which ? "bar-new" : "bar-old", x: left, y: y + which * 13, width: wide, height: 11 }));
      svg.append(shape("text", { x: left + wide + 4, y: y + which * 13 + 10 }, format(value)));
    });
  });
  return svg;
}

function drawCosts() {
  const [before, after] = DATA.costs;
  const holder = byId("costs");
  const changed = DATA.operators.filter((row) => row[1] !== row[2]).sort((a, b) => Math.abs(b[1] - b[2]) - Math.abs(a[1] - a[2])).slice(0, 12);
  if (changed.length) holder.append(bars("Operators that changed in number: before, after", changed, String));
  const size = [["multiply-adds", before.multiply_adds, after.multiply_adds]];
  holder.append(bars("Multiply-adds of a run, open dimensions as 1", size, counted));
  holder.append(bars("Bytes of weights", [["weights", before.bytes, after.bytes]], counted));
  const rows = [["nodes", before.nodes, after.nodes], ["multiply-adds", before.multiply_adds, after.multiply_adds], ["bytes of weights", before.bytes, after.bytes]];
  if (DATA.latency) {
    holder.append(bars("Latency in onnxruntime, ms, median", [["latency", ...DATA.latency.median]], formatted));
    rows.push(["latency, ms, median", ...DATA.latency.median]);
  }
  holder.append(table("Costs", ["", ">before", ">after"], rows));
}

function drawVerified() {
  const verdict = DATA.verification;
  const holder = byId("verified");
  if (!verdict) {
    holder.append(element("p", {}, "The result was not compared with the original."));
    return;
  }
  holder.append(element("p", {}, verdict.text));
  const rows = verdict.outputs.map((each) => [each.name, each.passed ? "passed" : "failed", each.error_original, each.error_result, each.excess, each.optimizations]);
  if (rows.length) holder.append(table("Largest errors of each output against the yardstick", ["output", "verdict", ">error of the original", ">error of the result", ">part of what is allowed", "onnxruntime's optimizations"], rows));
  for (const note of verdict.notes) holder.append(element("p", {}, note));
}

function drawLayers() {
  if (!DATA.layers.length) return;
  byId("s-layers").hidden = false;
  const width = 1100, height = 280, left = 60, floor = 1e-20;
  const values = DATA.layers.flatMap((row) => [row[1], row[2]]).filter((value) => typeof value === "number" && value > 0);
  const low = Math.floor(Math.log10(Math.max(floor, Math.min(...values, 1e-9)))), high = Math.ceil(Math.log10(Math.max(...values, 1e-8)));
  const x = (place) => left + ((width - left - 10) * place) / Math.max(1, DATA.layers.length - 1);
  const y = (value) => 10 + ((height - 40) * (high - Math.log10(Math.max(value, 10 ** low)))) / Math.max(1, high - low);
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Error by layer; the table below has the numbers" });
  for (let power = low; power <= high; power += Math.max(1, Math.ceil((high - low) / 8))) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width, y1: y(10 ** power), y2: y(10 ** power) }), shape("text", { x: 4, y: y(10 ** power) + 4 }, `1e${power}`));
  }
  [["line-old", 1], ["line-new", 2]].forEach(([kind, column]) => {
    const points = DATA.layers.map((row, place) => [row[column], place]).filter(([value]) => typeof value === "number").map(([value, place]) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
    svg.append(shape("polyline", { class: kind, points: points.join(" ") }));
  });
  svg.append(shape("text", { x: left, y: height - 6 }, "along the depth, root mean squares; solid: the original, dashed: the result"));
  byId("layers").append(element("div", { class: "drawn" }, svg), element("div", { class: "wide" }, table("Error by layer", ["value", ">error of the original", ">error of the result", ">size of the value"], DATA.layers)));
}

function drawTables() {
  const limit = 3000;
  const wanted = DATA.norms.map((norm, place) => [norm, place]).filter(([norm]) => chosen.fates.size === 0 || chosen.fates.has(norm.fate));
  const rows = wanted.slice(0, limit).map(([norm, place]) => ({ pick: place, cells: [norm.where, norm.kind, norm.shape, badge(norm.fate), norm.reason, norm.remedy ? `${norm.label}: ${norm.remedy}` : ""] }));
  const caption = wanted.length > limit ? `The first ${limit} of ${wanted.length}` : `${wanted.length} normalizations`;
  byId("norms").replaceChildren(table(caption, ["node", "kind", "shape", "fate", "where it went, or why it stays", "what can be done"], rows, (place) => {
    selectNorm(place);
    byId("h-graph").scrollIntoView();
  }));
}
