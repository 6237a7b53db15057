// Which blocks are open, what is visible, and where it stands. Places come from dagre, for each stretch between two
// nodes that everything passes through; the stretches are put together from the top down.
const WIDTH = 172, HEIGHT = 40, GAP = 30, LARGEST_FOR_DAGRE = 350;
const opened = new Set();

function keyOf(block) {
  return `${block[0]}-${block[1]}`;
}

// The visible items from the first node to the last: { start, end, block }, one node or a block.
function visibleItems() {
  const items = [];
  const put = (blocks, start, end) => {
    if (!blocks.length) {
      for (let node = start; node < end; node++) items.push({ start: node, end: node + 1, block: null });
      return;
    }
    for (const block of blocks) {
      if (block[1] - block[0] === 1) items.push({ start: block[0], end: block[1], block: null });
      else if (opened.has(keyOf(block))) put(block[2], block[0], block[1]);
      else items.push({ start: block[0], end: block[1], block });
    }
  };
  put(DATA.blocks, 0, DATA.nodes.length);
  return items;
}

function allBlocks(blocks, visit) {
  for (const block of blocks) {
    visit(block);
    allBlocks(block[2], visit);
  }
}

// Opens every block that a node is in; tells whether any was closed.
function openTo(node) {
  let changed = false;
  let blocks = DATA.blocks;
  for (;;) {
    const block = blocks.find((each) => each[0] <= node && node < each[1]);
    if (!block || block[1] - block[0] === 1) return changed;
    if (!opened.has(keyOf(block))) {
      opened.add(keyOf(block));
      changed = true;
    }
    blocks = block[2];
  }
}

// The innermost open block that a node is in, or null.
function blockAround(node) {
  let found = null;
  let blocks = DATA.blocks;
  for (;;) {
    const block = blocks.find((each) => each[0] <= node && node < each[1]);
    if (!block || block[1] - block[0] === 1 || !opened.has(keyOf(block))) return found;
    found = block;
    blocks = block[2];
  }
}

function laidOut() {
  const items = visibleItems();
  const itemOf = new Int32Array(DATA.nodes.length);
  items.forEach((item, place) => itemOf.fill(place, item.start, item.end));
  const joined = new Map();
  for (let at = 0; at < DATA.edges.length; at += 3) {
    const from = itemOf[DATA.edges[at]], to = itemOf[DATA.edges[at + 1]];
    if (from === to) continue;
    const key = from * items.length + to;
    const known = joined.get(key);
    if (known) known.sides |= DATA.edges[at + 2];
    else joined.set(key, { from, to, sides: DATA.edges[at + 2], points: null });
  }
  const edges = [...joined.values()];
  placeItems(items, edges);
  return { items, itemOf, edges };
}

function placeItems(items, edges) {
  const covered = new Int32Array(items.length + 2);
  const inside = items.map(() => []);
  for (const edge of edges) {
    const low = Math.min(edge.from, edge.to), high = Math.max(edge.from, edge.to);
    covered[low + 1] += 1;
    covered[high] -= 1;
    inside[low].push(edge);
  }
  const bounds = [];
  for (let place = 0, sum = 0; place < items.length; place++) {
    sum += covered[place];
    if (sum === 0 || place === items.length - 1) bounds.push(place);
  }
  if (bounds[0] !== 0) bounds.unshift(0);
  if (items.length) Object.assign(items[0], { x: 0, y: 0 });
  let bottom = HEIGHT / 2;
  for (let part = 0; part + 1 < bounds.length; part++) {
    const first = bounds[part], last = bounds[part + 1];
    if (last === first + 1) {
      Object.assign(items[last], { x: items[first].x, y: bottom + GAP + HEIGHT / 2 });
    } else {
      placeStretch(items, inside, first, last);
    }
    bottom = items[last].y + HEIGHT / 2;
    for (let place = first; place <= last; place++) bottom = Math.max(bottom, items[place].y + HEIGHT / 2);
  }
}

// Stretches of one form are laid out once: networks repeat themselves.
const forms = new Map();

function placeStretch(items, inside, first, last) {
  const own = [];
  for (let place = first; place < last; place++) own.push(...inside[place]);
  const anchor = { x: items[first].x, y: items[first].y };
  if (last - first > LARGEST_FOR_DAGRE) {
    placeInRows(items, own, first, last);
  } else {
    const pairs = own.map((edge) => [edge.from - first, edge.to - first]);
    const form = `${last - first}:${pairs.join(";")}`;
    if (!forms.has(form)) forms.set(form, laidOutByDagre(last - first + 1, pairs));
    const { nodes, edges } = forms.get(form);
    for (let place = first; place <= last; place++) Object.assign(items[place], nodes[place - first]);
    own.forEach((edge, place) => { edge.points = edges[place]; });
  }
  const dx = anchor.x - items[first].x, dy = anchor.y - items[first].y;
  for (let place = first; place <= last; place++) {
    items[place].x += dx;
    items[place].y += dy;
  }
  for (const edge of own) {
    if (edge.points) edge.points = edge.points.map((point) => ({ x: point.x + dx, y: point.y + dy }));
  }
}

function laidOutByDagre(count, pairs) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ ranker: "tight-tree", nodesep: 16, edgesep: 10, ranksep: GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  for (let node = 0; node < count; node++) graph.setNode(String(node), { width: WIDTH, height: HEIGHT });
  for (const [from, to] of pairs) graph.setEdge(String(from), String(to), {});
  dagre.layout(graph);
  return {
    nodes: Array.from({ length: count }, (_, node) => pointOf(graph.node(String(node)))),
    edges: pairs.map(([from, to]) => graph.edge(String(from), String(to)).points.map(pointOf)),
  };
}

function pointOf(given) {
  return { x: given.x, y: given.y };
}

// For stretches in which dagre would take seconds: each node one row below the last that it reads.
function placeInRows(items, own, first, last) {
  const row = new Int32Array(last - first + 1);
  own.sort((a, b) => a.from - b.from);
  for (const edge of own) if (edge.from < edge.to) row[edge.to - first] = Math.max(row[edge.to - first], row[edge.from - first] + 1);
  const used = new Map();
  for (let place = first; place <= last; place++) {
    const level = row[place - first];
    const column = used.get(level) || 0;
    used.set(level, column + 1);
    const side = column % 2 ? (column + 1) / 2 : -column / 2;
    Object.assign(items[place], { x: side * (WIDTH + 16), y: level * (HEIGHT + GAP) });
  }
}
