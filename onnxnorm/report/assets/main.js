// Wires the controls up and draws everything once.
function drawFates() {
  const holder = byId("fates");
  FATES.forEach((name, fate) => {
    const count = DATA.norms.filter((norm) => norm.fate === fate).length;
    if (!count) return;
    const chip = element("button", { type: "button", class: `chip norm f${fate}`, "aria-pressed": "false", "data-fate": fate }, `${LETTERS[fate]} ${name} ${count}`);
    chip.addEventListener("click", () => toggleFate(fate));
    holder.append(chip);
  });
}

function toggleFate(fate) {
  if (!chosen.fates.delete(fate)) chosen.fates.add(fate);
  filter();
}

function filter() {
  for (const chip of byId("fates").children) chip.setAttribute("aria-pressed", String(chosen.fates.has(Number(chip.dataset.fate))));
  mark();
  drawTables();
}

let matches = [];
let current = -1;

function search() {
  const text = byId("search").value.trim().toLowerCase();
  matches = [];
  if (text) {
    DATA.nodes.forEach((entry, node) => {
      const names = [entry[NAME], operatorOf(node, 1) || "", operatorOf(node, 2) || ""];
      if (names.some((name) => name.toLowerCase().includes(text))) matches.push(node);
    });
  }
  current = -1;
  chosen.hits = new Set(matches);
  byId("found").textContent = text ? `${matches.length} found` : "";
  mark();
}

function nextMatch(step) {
  if (!matches.length) return;
  current = (current + step + matches.length) % matches.length;
  byId("found").textContent = `${current + 1} of ${matches.length}`;
  select(matches[current], true);
}

function nextNorm(step) {
  const places = DATA.norms.map((norm) => norm.node).filter((node, place, all) => node !== null && all.indexOf(node) === place && (chosen.fates.size === 0 || chosen.fates.has(DATA.nodes[node][FATE]))).sort((a, b) => a - b);
  if (!places.length) return;
  const after = step > 0 ? places.find((node) => node > chosen.node) : places.filter((node) => node < chosen.node).pop();
  select(after === undefined ? places[step > 0 ? 0 : places.length - 1] : after, true);
}

// Along an edge, or to the item beside it in the same row.
function walk(direction) {
  if (chosen.node < 0) {
    if (picture.items.length) stand(0);
    return;
  }
  const here = picture.itemOf[chosen.node];
  const item = picture.items[here];
  const ends = new Set();
  for (const edge of picture.edges) {
    if (direction === "down" && edge.from === here) ends.add(edge.to);
    if (direction === "up" && edge.to === here) ends.add(edge.from);
  }
  if (direction === "left" || direction === "right") {
    picture.items.forEach((other, place) => {
      const beside = direction === "left" ? other.x < item.x : other.x > item.x;
      if (beside && Math.abs(other.y - item.y) < HEIGHT) ends.add(place);
    });
  }
  const nearest = [...ends].sort((a, b) => Math.abs(picture.items[a].x - item.x) - Math.abs(picture.items[b].x - item.x))[0];
  if (nearest !== undefined) stand(nearest);
}

// Chooses what stands at a place of the picture; a block stays closed.
function stand(place) {
  const node = picture.items[place].start;
  select(node, false);
  centre(node);
}

// So many nodes can be open at once.
const MOST_OPEN = 4000;

function openAll(open) {
  if (open && DATA.nodes.length > MOST_OPEN) return;
  opened.clear();
  if (open) allBlocks(DATA.blocks, (block) => opened.add(keyOf(block)));
  redraw();
  fit(false);
}

function nextTheme() {
  const names = ["system", "dark", "light"];
  const root = document.documentElement;
  const next = names[(names.indexOf(root.dataset.theme || "system") + 1) % names.length];
  root.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
}

function clear() {
  chosen.node = -1;
  chosen.path = [];
  byId("search").value = "";
  search();
  if (chosen.fates.size) {
    chosen.fates.clear();
    filter();
  }
  byId("detail").replaceChildren(element("p", {}, "Choose a node to see where it went."));
}

const KEYS = {
  "ArrowDown": [() => walk("down"), "to a node that reads this one"],
  "ArrowUp": [() => walk("up"), "to a node that this one reads"],
  "ArrowLeft": [() => walk("left"), "to the node on the left"],
  "ArrowRight": [() => walk("right"), "to the node on the right"],
  "Shift+ArrowDown": [() => pan(0, -80), "move the picture; the other arrows likewise"],
  "Shift+ArrowUp": [() => pan(0, 80)],
  "Shift+ArrowLeft": [() => pan(80, 0)],
  "Shift+ArrowRight": [() => pan(-80, 0)],
  "Enter": [openHere, "open the block that is chosen"],
  "Backspace": [closeHere, "close the block around the chosen node"],
  "n": [() => nextNorm(1), "next normalization"],
  "p": [() => nextNorm(-1), "previous normalization"],
  "+": [() => zoomCentre(1.25), "zoom in"],
  "-": [() => zoomCentre(0.8), "zoom out"],
  "0": [() => fit(true), "show all"],
  "e": [() => openAll(true), "open all blocks"],
  "c": [() => openAll(false), "close all blocks"],
  "/": [() => byId("search").focus(), "search"],
  "t": [nextTheme, "dark, light, or as the system has it"],
  "?": [() => byId("help").click(), "these keys"],
  "Escape": [clear, "clear search, filter and selection"],
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("input, select");
  if (field && event.key !== "Escape") {
    if (field.id === "search" && event.key === "Enter") nextMatch(event.shiftKey ? -1 : 1);
    return;
  }
  const arrow = event.key.startsWith("Arrow");
  const found = KEYS[event.key === "=" ? "+" : arrow && event.shiftKey ? `Shift+${event.key}` : event.key];
  // Elsewhere these keys scroll the page, or press a button.
  if (!found || ((arrow || event.key === "Enter" || event.key === "Backspace") && !event.target.closest("svg[tabindex]"))) return;
  event.preventDefault();
  found[0]();
}

function start() {
  byId("subtitle").textContent = `${DATA.before}${DATA.after ? ` → ${DATA.after}` : ""}`;
  byId("footer").textContent = `Made by onnxnorm ${DATA.version}. Layout by dagre (MIT). This file needs no network.`;
  drawCards();
  drawFates();
  redraw();
  fit(false);
  drawCosts();
  drawVerified();
  drawLayers();
  drawRanges();
  drawTables();
  byId("operators").append(table("Operators", ["operator", ">before", ">after"], DATA.operators));
  clear();
  byId("collapse").hidden = DATA.blocks.length === 0;
  byId("expand").hidden = DATA.blocks.length === 0 || DATA.nodes.length > MOST_OPEN;
  for (const [key, [, text]] of Object.entries(KEYS)) if (text) byId("keys").append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, text));
  byId("help").addEventListener("click", () => {
    byId("keys").hidden = !byId("keys").hidden;
    byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
  });
  byId("zoom-in").addEventListener("click", () => zoomCentre(1.25));
  byId("zoom-out").addEventListener("click", () => zoomCentre(0.8));
  byId("fit").addEventListener("click", () => fit(true));
  byId("expand").addEventListener("click", () => openAll(true));
  byId("collapse").addEventListener("click", () => openAll(false));
  byId("theme").addEventListener("click", nextTheme);
  byId("search").addEventListener("input", search);
  document.addEventListener("keydown", onKey);
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

start();
