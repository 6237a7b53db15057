// Draws both halves with one view on them, and moves it.
const panes = [{ side: 1, svg: byId("before") }, { side: 2, svg: byId("after") }];
const view = { x: 0, y: 0, scale: 1 };
const chosen = { node: -1, path: [], fates: new Set(), hits: new Set() };
let picture = null;

function redraw() {
  picture = laidOut();
  for (const pane of panes) {
    const world = shape("g", { class: "world" });
    pane.edges = picture.edges.map((edge) => {
      if (!(edge.sides & pane.side)) return null;
      const line = shape("path", { class: "edge", d: curve(edge) });
      world.append(line);
      return line;
    });
    pane.groups = picture.items.map((item, place) => {
      const group = item.block ? blockGroup(item, pane.side) : nodeGroup(item.start, pane.side);
      group.setAttribute("transform", `translate(${item.x - WIDTH / 2} ${item.y - HEIGHT / 2})`);
      group.dataset.item = place;
      world.append(group);
      return group;
    });
    pane.svg.replaceChildren(world);
    pane.world = world;
  }
  mark();
  look();
}

function curve(edge) {
  const from = picture.items[edge.from], to = picture.items[edge.to];
  const points = edge.points || [{ x: from.x, y: from.y + HEIGHT / 2 }, { x: to.x, y: to.y - HEIGHT / 2 }];
  return points.map((point, place) => `${place ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}`).join("");
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function nodeGroup(node, side) {
  const entry = DATA.nodes[node];
  const own = operatorOf(node, side);
  const fate = entry[FATE];
  const classes = ["item"];
  if (fate >= 0) classes.push("norm", `f${fate}`);
  if (own === null) classes.push("ghost");
  else if (side === 2 && entry[OP_BEFORE] < 0) classes.push("fresh");
  else if (entry[CHANGED]) classes.push("changed");
  const group = shape("g", { class: classes.join(" ") }, shape("rect", { class: "body", width: WIDTH, height: HEIGHT, rx: 6 }));
  if (fate >= 0) {
    group.append(shape("rect", { class: "flag", width: 18, height: HEIGHT, rx: 5 }), shape("text", { class: "letter", x: 4, y: 25 }, LETTERS[fate]));
  }
  const left = fate >= 0 ? 24 : 9;
  group.append(shape("text", { x: left, y: 17 }, cut(own || titleOf(node), 21)));
  group.append(shape("text", { class: "name", x: left, y: 32 }, cut(entry[NAME], 26)));
  return group;
}

function blockGroup(item, side) {
  let count = 0;
  const fates = new Map();
  const operators = new Map();
  for (let node = item.start; node < item.end; node++) {
    const own = operatorOf(node, side);
    if (own !== null) {
      count += 1;
      operators.set(own, (operators.get(own) || 0) + 1);
    }
    const fate = DATA.nodes[node][FATE];
    if (fate >= 0) fates.set(fate, (fates.get(fate) || 0) + 1);
  }
  const group = shape("g", { class: count ? "item block" : "item block ghost" }, shape("rect", { class: "body", width: WIDTH, height: HEIGHT, rx: 10 }));
  let x = 6;
  for (const [fate, many] of [...fates].sort((a, b) => a[0] - b[0])) {
    const wide = Math.max(4, Math.round(((WIDTH - 12) * many) / (item.end - item.start)));
    group.append(shape("rect", { class: `flag f${fate}`, x, y: HEIGHT - 7, width: wide, height: 5 }));
    x += wide + 2;
  }
  const most = [...operators].sort((a, b) => b[1] - a[1]).slice(0, 2).map(([name, many]) => `${many} ${name}`).join(", ");
  group.append(shape("text", { x: 9, y: 16 }, `▸ ${count} nodes`), shape("text", { class: "name", x: 9, y: 29 }, cut(most, 28)));
  return group;
}

// Lights the path, the selection, what was searched and what the filter keeps.
function mark() {
  const path = new Set(chosen.path.map((node) => picture.itemOf[node]));
  const selected = chosen.node >= 0 ? picture.itemOf[chosen.node] : -1;
  for (const pane of panes) {
    pane.svg.classList.toggle("lighting", path.size > 1);
    pane.svg.classList.toggle("filtering", chosen.fates.size > 0);
    pane.groups.forEach((group, place) => {
      const item = picture.items[place];
      group.classList.toggle("lit", path.has(place));
      group.classList.toggle("selected", place === selected);
      group.classList.toggle("hit", holds(item, (node) => chosen.hits.has(node)));
      group.classList.toggle("wanted", chosen.fates.size === 0 || holds(item, (node) => chosen.fates.has(DATA.nodes[node][FATE])));
    });
    pane.edges.forEach((line, place) => {
      const edge = picture.edges[place];
      if (line) line.classList.toggle("lit", path.size > 1 && path.has(edge.from) && path.has(edge.to));
    });
  }
}

function holds(item, test) {
  for (let node = item.start; node < item.end; node++) if (test(node)) return true;
  return false;
}

function look() {
  for (const pane of panes) {
    pane.world.setAttribute("transform", `translate(${view.x.toFixed(2)} ${view.y.toFixed(2)}) scale(${view.scale.toFixed(4)})`);
    pane.svg.classList.toggle("far", view.scale < 0.3);
  }
}

function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  look();
}

function zoom(factor, x, y) {
  const scale = Math.min(4, Math.max(0.02, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  look();
}

function zoomCentre(factor) {
  const box = panes[0].svg.getBoundingClientRect();
  zoom(factor, box.width / 2, box.height / 2);
}

function fit(whole) {
  const box = panes[0].svg.getBoundingClientRect();
  const xs = picture.items.map((item) => item.x), ys = picture.items.map((item) => item.y);
  if (!xs.length) return;
  const low = (values) => values.reduce((a, b) => Math.min(a, b)), high = (values) => values.reduce((a, b) => Math.max(a, b));
  const wide = high(xs) - low(xs) + WIDTH + 40, tall = high(ys) - low(ys) + HEIGHT + 40;
  const scale = Math.min(1, box.width / wide, box.height / tall);
  // A long chain would be a thread: its beginning is shown, in a size that can be read.
  view.scale = whole ? Math.max(0.02, scale) : Math.max(scale, Math.min(0.7, box.width / wide));
  view.x = box.width / 2 - ((high(xs) + low(xs)) / 2) * view.scale;
  view.y = 20 - (low(ys) - HEIGHT / 2) * view.scale;
  look();
}

function centre(node) {
  const item = picture.items[picture.itemOf[node]];
  const box = panes[0].svg.getBoundingClientRect();
  view.scale = Math.max(view.scale, 0.6);
  view.x = box.width / 2 - item.x * view.scale;
  view.y = box.height / 2 - item.y * view.scale;
  look();
}

for (const pane of panes) {
  let held = null;
  pane.svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = pane.svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  pane.svg.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, moved: false };
  });
  pane.svg.addEventListener("pointermove", (event) => {
    if (!held || !(event.buttons & 1)) return;
    const dx = event.clientX - held.x, dy = event.clientY - held.y;
    if (!held.moved && Math.hypot(dx, dy) < 4) return;
    held = { x: event.clientX, y: event.clientY, moved: true };
    pan(dx, dy);
  });
  pane.svg.addEventListener("click", (event) => {
    const moved = held && held.moved;
    held = null;
    const group = event.target.closest(".item");
    if (moved || !group) return;
    const item = picture.items[Number(group.dataset.item)];
    if (item.block) openBlock(item.block, true);
    else select(item.start, false);
  });
}

function openBlock(block, open) {
  if (open) opened.add(keyOf(block));
  else opened.delete(keyOf(block));
  redraw();
}
