// What a click shows: where a normalization went, its algebra in numbers, or what is in its way.
const normsOf = new Map();
DATA.norms.forEach((norm, place) => {
  if (norm.node !== null) normsOf.set(norm.node, [...(normsOf.get(norm.node) || []), place]);
});

function select(node, move) {
  if (move && openTo(node)) redraw();
  chosen.node = node;
  const { block } = picture.items[picture.itemOf[node]];
  const norms = block ? [] : normsOf.get(node) || [];
  chosen.path = norms.length ? DATA.norms[norms[0]].path : [];
  if (!chosen.path.length && norms.length && DATA.norms[norms[0]].blocker !== null) chosen.path = [node, DATA.norms[norms[0]].blocker];
  const more = chosen.path.map(openTo).includes(true);
  if (more) redraw();
  mark();
  if (move || more) centre(node);
  const pane = byId("detail");
  pane.replaceChildren(...(block ? describeBlock(block) : describe(node, norms)));
  pane.scrollTop = 0;
}

function selectNorm(place) {
  const norm = DATA.norms[place];
  if (norm.node !== null) select(norm.node, true);
  byId("detail").replaceChildren(...(norm.node === null ? [] : describe(norm.node, [])), ...describeNorm(norm));
}

function describe(node, norms) {
  const entry = DATA.nodes[node];
  const before = operatorOf(node, 1), after = operatorOf(node, 2);
  const parts = [element("h3", {}, before && after && before !== after ? `${before} → ${after}` : before || after)];
  parts.push(element("p", {}, element("code", {}, entry[NAME])));
  const shapes = [entry[SHAPE_BEFORE], entry[SHAPE_AFTER]].map((each) => (each < 0 ? null : DATA.texts[each]));
  if (shapes[0] || shapes[1]) parts.push(element("p", {}, `result: ${shapes[0] || shapes[1]}`));
  if (before === null) parts.push(element("p", {}, "new in the result"));
  else if (after === null) parts.push(element("p", {}, "gone from the result"));
  else if (entry[CHANGED]) parts.push(element("p", {}, "its constants changed"));
  for (const place of norms) parts.push(...describeNorm(DATA.norms[place]));
  const took = DATA.norms.filter((norm) => norm.takers.includes(node));
  if (took.length) {
    parts.push(element("p", {}, `took up ${took.length} normalization${took.length > 1 ? "s" : ""}:`));
    parts.push(links(took.slice(0, 20).map((norm) => norm.node)));
  }
  if (blockAround(node)) parts.push(action("Close its block (Backspace)", closeHere));
  const weights = DATA.ranges.weights.find((each) => each.node === node);
  if (weights) {
    const [old, now] = weights.ratio.map((value) => (value === null ? "none" : formatted(value)));
    parts.push(element("p", {}, `its largest channel over the smallest: ${old} → ${now}; ${INT8}: ${verdict(weights)}`));
  }
  return parts;
}

function describeBlock(block) {
  const [start, end] = block;
  const inside = [...normsOf.keys()].filter((node) => start <= node && node < end).sort((a, b) => a - b);
  const parts = [element("h3", {}, `A block of ${end - start} nodes`), action("Open it (Enter)", openHere)];
  parts.push(element("p", {}, inside.length ? `${inside.length} with normalizations:` : "no normalizations"));
  if (inside.length) parts.push(links(inside.slice(0, 20)));
  return parts;
}

function action(text, act) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", act);
  return button;
}

// Opens the block that is chosen.
function openHere() {
  if (chosen.node < 0) return;
  const { block } = picture.items[picture.itemOf[chosen.node]];
  if (!block) return;
  openBlock(block, true);
  select(chosen.node, false);
  centre(chosen.node);
}

// Closes the block around the chosen node.
function closeHere() {
  const block = chosen.node < 0 ? null : blockAround(chosen.node);
  if (!block) return;
  openBlock(block, false);
  select(block[0], false);
  centre(block[0]);
}

function links(nodes) {
  const list = element("ul", {});
  for (const node of nodes) {
    if (node === null || node === undefined) continue;
    list.append(element("li", {}, action(`${titleOf(node)} ${cut(DATA.nodes[node][NAME], 40)}`, () => select(node, true))));
  }
  return list;
}

function describeNorm(norm) {
  const parts = [element("p", {}, badge(norm.fate), ` ${norm.kind}`)];
  if (norm.formula) parts.push(element("p", {}, element("code", {}, norm.formula)));
  parts.push(element("p", {}, norm.reason));
  if (norm.takers.length) parts.push(element("p", {}, "Where it went:"), links(norm.takers));
  if (norm.code) parts.push(element("p", {}, "Code: ", element("code", {}, norm.code)));
  if (norm.blocker !== null) parts.push(element("p", {}, "In the way:"), links([norm.blocker]));
  if (norm.readers.length) parts.push(element("p", {}, `That value is read by: ${norm.readers.join(", ")}`));
  if (norm.cost) parts.push(element("p", {}, `By cost, in elements: it would save ${counted(norm.cost[0])} and take ${counted(norm.cost[1])}.`));
  if (norm.remedy) parts.push(element("p", {}, element("b", {}, `${norm.label[0].toUpperCase()}${norm.label.slice(1)}: `), norm.remedy));
  if (norm.bound) parts.push(element("p", {}, norm.bound));
  if (norm.algebra) parts.push(...describeAlgebra(norm.algebra));
  return parts;
}

function describeAlgebra(algebra) {
  const columns = algebra.columns;
  const names = Object.keys(columns);
  const count = columns.scale.length;
  const lines = [
    element("p", {}, element("code", {}, `scale = gamma / sqrt(variance + ${formatted(algebra.epsilon)})`)),
    element("p", {}, element("code", {}, "shift = beta − mean · scale")),
  ];
  if (algebra.taker) {
    const [name, op, upstream] = algebra.taker;
    const law = upstream ? "W'[c] = scale[c] · W[c], b'[c] = scale[c] · b[c] + shift[c]" : "W'[:, c] = W[:, c] · scale[c], b' = b + Σ W[:, c] · shift[c]";
    lines.push(element("p", {}, element("code", {}, law), ` in ${op} `, element("code", {}, name)));
    if (names.some((each) => each.startsWith("weight"))) lines.push(element("p", {}, "The first weight of each channel is shown; other affines may have gone into it too."));
  }
  const rows = names.map((name) => [name, ...columns[name]]);
  const headings = ["channel", ...Array.from({ length: count }, (_, place) => `>${place}`)];
  const holder = element("div", { class: "wide" }, table(count < algebra.channels ? `${count} of ${algebra.channels} channels` : "", headings, rows));
  return [...lines, holder];
}
