// Ranges of weights: how far the channels of each weight lie apart, before and after, and what int8 would lose.
const INT8 = "int8 with one scale for the tensor";

function verdict(each) {
  if (each.poor[1] === null) return "gone from the result";
  const part = `${each.poor[1]} of ${each.channels[1]} channels`;
  if (each.loses[1]) return `loses accuracy: ${part}${each.loses[0] ? ", as before" : ""}`;
  return each.loses[0] ? "leaves enough steps now" : "leaves enough steps";
}

function drawRanges() {
  const weights = DATA.ranges.weights;
  if (!weights.length) return;
  byId("s-ranges").hidden = false;
  const [before, after] = DATA.ranges.poor, [, count] = DATA.ranges.count;
  const told = after ? `${INT8} would take accuracy from ${after} of ${count} weights (before: ${before}): a tenth of their channels or more keeps fewer than 8 of 127 steps.` : `${INT8} leaves every weight of the result enough steps${before ? ` (before: ${before} lost accuracy)` : ""}.`;
  byId("ranges-told").append(told[0].toUpperCase() + told.slice(1));
  if (after > before) byId("ranges-told").append(" Folding put scales of normalizations into them: --prepare int8 makes their channels alike, and one scale for each channel needs nothing.");
  byId("ranges").append(element("div", { class: "drawn" }, depthOfRanges(weights)), rangeTable(weights));
  const drawn = weights.filter((each) => each.bars);
  const choice = byId("range-of");
  drawn.forEach((each, place) => choice.append(element("option", { value: place }, `${each.loses[1] ? "! " : ""}${each.op} ${cut(each.name, 60)}`)));
  const draw = () => byId("channels").replaceChildren(...channelsOf(drawn[Number(choice.value)]));
  choice.addEventListener("change", draw);
  if (drawn.length) draw();
}

// So many weights are drawn along the depth: those with the largest ratios.
const MOST_MARKS = 400;

// One mark a weight, along the depth; the higher, the further its channels lie apart.
function depthOfRanges(all) {
  const largest = (each) => Math.max(...each.ratio.map((ratio) => (typeof ratio === "number" ? ratio : 0)));
  const least = all.map(largest).sort((a, b) => b - a)[Math.min(all.length, MOST_MARKS) - 1];
  const weights = all.filter((each) => largest(each) >= least).slice(0, MOST_MARKS);
  const width = 1100, height = 200, left = 60;
  const value = (each, which) => (typeof each.ratio[which] === "number" ? each.ratio[which] : null);
  const most = Math.max(...weights.flatMap((each) => [value(each, 0) || 1, value(each, 1) || 1]), 10);
  const high = Math.ceil(Math.log10(most));
  const x = (place) => left + 10 + ((width - left - 20) * place) / Math.max(1, weights.length - 1);
  const y = (ratio) => 12 + ((height - 46) * (high - Math.log10(Math.max(1, ratio)))) / high;
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Ratio of the largest channel to the smallest, weight by weight; the table below has the numbers" });
  for (let power = 0; power <= high; power += Math.max(1, Math.ceil(high / 6))) {
    svg.append(shape("line", { class: "axis", x1: left, x2: width, y1: y(10 ** power), y2: y(10 ** power) }), shape("text", { x: 4, y: y(10 ** power) + 4 }, power < 4 ? String(10 ** power) : `1e${power}`));
  }
  weights.forEach((each, place) => {
    const [old, now] = [value(each, 0), value(each, 1)];
    if (old !== null && now !== null && old !== now) svg.append(shape("line", { class: "axis", x1: x(place), x2: x(place), y1: y(old), y2: y(now) }));
    if (old !== null) svg.append(shape("circle", { class: "dot-old", cx: x(place), cy: y(old), r: 4 }));
    if (now !== null) svg.append(shape("rect", { class: each.loses[1] ? "dot-poor" : "dot-new", x: x(place) - 4, y: y(now) - 4, width: 8, height: 8 }));
    if (each.loses[1] && now !== null) svg.append(shape("text", { class: "poor", x: x(place) + 6, y: y(now) + 4 }, "!"));
  });
  svg.append(shape("text", { x: left, y: height - 6 }, `largest channel over the smallest, along the depth${weights.length < all.length ? `, the ${weights.length} largest of ${all.length}` : ""}; ring: before, square: after, !: loses accuracy in int8`));
  return svg;
}

function rangeTable(weights) {
  const worst = [...weights].sort((a, b) => b.loses[1] - a.loses[1] || (b.ratio[1] || 0) - (a.ratio[1] || 0));
  const limit = 300;
  const rows = worst.slice(0, limit).map((each) => ({ pick: each.node, cells: [each.name, each.op, each.channels[1] === null ? each.channels[0] : each.channels[1], ...each.ratio, each.poor[0], each.poor[1], verdict(each)] }));
  const caption = worst.length > limit ? `The first ${limit} of ${worst.length} weights, the worst first` : "Weights, the worst first";
  const headings = ["node", "operator", ">channels", ">ratio before", ">ratio after", ">below 8 steps before", ">after", INT8];
  return element("div", { class: "wide" }, table(caption, headings, rows, (node) => {
    select(node, true);
    byId("h-graph").scrollIntoView();
  }));
}

function channelsOf(each) {
  const width = 760, height = 180;
  const most = Math.max(...each.bars.flatMap((row) => row || []), 1e-30);
  const svg = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Largest weight by channel before and after; the table above has the ratio" });
  each.bars.forEach((row, which) => {
    const step = row ? (width - 20) / row.length : 0;
    (row || []).forEach((value, place) => {
      const tall = (150 * value) / most;
      svg.append(shape("rect", { class: which ? "bar-new" : "bar-old", x: 10 + place * step + which * step * 0.45, y: 160 - tall, width: Math.max(1, step * 0.42), height: tall }));
    });
  });
  if (each.bars[1]) {
    const few = (150 * Math.max(...each.bars[1]) * 8) / 127 / most;
    svg.append(shape("line", { class: "few", x1: 10, x2: width - 10, y1: 160 - few, y2: 160 - few }));
  }
  const many = each.channels[1] || each.channels[0];
  const note = many > 64 ? `${many} channels, each bar the largest of several` : "one bar a channel";
  svg.append(shape("text", { x: 10, y: 176 }, `largest weight, ${note}; left bar: before, right bar: after; dashed: 8 steps of int8 after`));
  return [element("div", { class: "drawn" }, svg)];
}
