"use strict";
// The sliders, the pictures and the sums of the LRN playground; where the numbers come from is in engine.js.
const lrnPlayground = (() => {
  const { MAP } = lrnFormula;
  const ALPHAS = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];
  const PRESETS = {
    example: { kind: "across", n: 2, k: 0, alpha: 1, beta: 1, input: "ones" },
    alexnet: { kind: "across", n: 5, k: 2, alpha: 1e-4, beta: 0.75, input: "loud" },
    zero: { kind: "across", n: 2, k: 0, alpha: 1, beta: 1, input: "dead" },
  };
  const INPUTS = {
    ones: () => 1,
    loud: (place, kind) => (place === (kind === "across" ? 3 : 27) ? 100 : 1),
    ramp: (place, kind) => (kind === "across" ? place + 1 : (place % MAP) + 1),
    dead: () => 0,
  };

  function element(name, attributes, ...children) {
    const svg = ["svg", "rect", "text", "g"].includes(name);
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function short(value) {
    if (!Number.isFinite(value)) return String(value);
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-4 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  }

  function start(root, folder) {
    const words = LRN_WORDS[root.dataset.language] || LRN_WORDS.en;
    const state = { ...PRESETS.example, values: [], place: 0, results: [] };
    const controls = {};
    const chart = element("div", { class: "lrn-chart" });
    const own = element("div", { class: "lrn-fields" });
    const sum = element("p", { class: "lrn-sum", "aria-live": "polite" });
    const node = element("p", {});
    const told = element("p", { class: "lrn-told", role: "status" }, words.waiting);
    let failure = null, started = false, busy = false, again = false;

    function slider(name, low, high, step) {
      const field = element("input", { type: "range", min: low, max: high, step, id: `lrn-${name}` });
      const shown = element("output", { for: `lrn-${name}` });
      field.addEventListener("input", () => {
        state[name] = name === "alpha" ? ALPHAS[Number(field.value)] : Number(field.value);
        update();
      });
      controls[name] = { field, shown };
      return element("label", {}, element("span", {}, words[name]), field, shown);
    }

    function choice(name, options) {
      const field = element("select", { id: `lrn-${name}` });
      for (const option of options) field.append(element("option", { value: option }, words[option]));
      field.addEventListener("change", () => {
        state[name] = field.value;
        state.place = 0;
        fill();
        update();
      });
      controls[name] = { field };
      return element("label", {}, element("span", {}, words[name]), field);
    }

    function fill() {
      const wanted = state.kind === "across" ? MAP : MAP * MAP;
      if (state.input === "own" && state.values.length === wanted) return;
      if (state.input === "own") state.input = "ones";
      state.values = Array.from({ length: wanted }, (_, place) => INPUTS[state.input](place, state.kind));
      own.replaceChildren(...(state.kind === "across" ? state.values.map(numberField) : []));
    }

    function buttons() {
      return Object.entries(PRESETS).map(([name, preset]) => {
        const button = element("button", { type: "button", "data-preset": name }, words[name]);
        button.addEventListener("click", () => {
          Object.assign(state, preset, { place: 0 });
          fill();
          update();
        });
        return button;
      });
    }

    function showControls() {
      for (const [name, { field, shown }] of Object.entries(controls)) {
        field.value = name === "alpha" ? ALPHAS.indexOf(state.alpha) : state[name];
        if (shown) shown.textContent = short(state[name]);
        if (name === "alpha") field.setAttribute("aria-valuetext", short(state.alpha));
      }
      // A channel has as many neighbours as there are; the map is as wide.
      controls.input.field.querySelector("[value=own]").hidden = state.kind !== "across";
    }

    // A place of the picture: chosen by a click or by Enter, with the numbers as its name.
    function chosen(group, place, name) {
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", `${name}: ${short(state.values[place])}, ${words.after} ${short(state.results[place])}`);
      group.setAttribute("class", place === state.place ? "lrn-place lrn-chosen" : "lrn-place");
      const choose = () => {
        state.place = place;
        draw();
        chart.querySelector(".lrn-chosen").focus();
      };
      group.addEventListener("click", choose);
      group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          choose();
        }
      });
      return group;
    }

    function drawBars() {
      const wide = 66, tall = 130;
      const most = Math.max(...[...state.values, ...state.results].filter(Number.isFinite).map(Math.abs), 1e-30);
      const near = new Set(lrnFormula.windowOf("across", state.n, state.place));
      const svg = element("svg", { viewBox: `0 0 ${MAP * wide} ${tall + 62}`, role: "group", "aria-label": words.input });
      state.values.forEach((value, place) => {
        const group = element("g", { transform: `translate(${place * wide} 0)` });
        if (near.has(place)) group.append(element("rect", { class: "lrn-near", x: 1, y: 0, width: wide - 2, height: tall + 62 }));
        const high = (tall * Math.abs(value)) / most, after = state.results[place];
        const low = Number.isFinite(after) ? (tall * Math.abs(after)) / most : 0;
        group.append(
          element("rect", { class: "lrn-before", x: 8, y: tall + 16 - high, width: 22, height: high }),
          element("rect", { class: "lrn-after", x: 34, y: tall + 16 - low, width: 22, height: low }),
          element("text", { x: wide / 2, y: tall + 32 }, `${words.channel} ${place}`),
          element("text", { x: wide / 2, y: tall + 50, class: "lrn-value" }, short(after)),
        );
        svg.append(chosen(group, place, `${words.channel} ${place}`));
      });
      return svg;
    }

    function numberField(value, place) {
      const field = element("input", { type: "number", step: "any", value: String(value), "aria-label": `${words.before}, ${words.channel} ${place}` });
      field.addEventListener("change", () => {
        if (field.value === "" || !Number.isFinite(Number(field.value))) return;
        state.values[place] = Number(field.value);
        state.input = "own";
        update();
      });
      return field;
    }

    function drawMap() {
      const size = 66, tall = 36;
      const near = new Set(lrnFormula.windowOf("within", state.n, state.place));
      const most = Math.max(...state.results.filter(Number.isFinite).map(Math.abs), 1e-30);
      const svg = element("svg", { viewBox: `0 0 ${MAP * size} ${MAP * tall}`, role: "group", "aria-label": words.after });
      state.results.forEach((value, place) => {
        const group = element("g", { transform: `translate(${(place % MAP) * size} ${Math.floor(place / MAP) * tall})` });
        const share = Number.isFinite(value) ? Math.abs(value) / most : 0;
        group.append(
          element("rect", { class: near.has(place) ? "lrn-cell lrn-near" : "lrn-cell", x: 1, y: 1, width: size - 2, height: tall - 2 }),
          element("rect", { class: "lrn-after", x: 4, y: tall - 7, width: (size - 8) * share, height: 4 }),
          element("text", { x: size / 2, y: tall / 2 + 2, class: "lrn-value" }, short(value)),
        );
        svg.append(chosen(group, place, `${words.cell} ${Math.floor(place / MAP)}, ${place % MAP}`));
      });
      return svg;
    }

    function explain() {
      const near = lrnFormula.windowOf(state.kind, state.n, state.place).map((place) => short(state.values[place]));
      const squares = near.length > 9 ? `${near.slice(0, 4).join("² + ")}² + … (${near.length})` : `${near.join("² + ")}²`;
      const value = state.values[state.place], result = state.results[state.place];
      sum.textContent = `${short(value)} / (${short(state.k)} + ${short(state.alpha)} · (${squares})) ^ ${short(state.beta)} = ${short(result)}`;
    }

    function draw() {
      chart.replaceChildren(state.kind === "across" ? drawBars() : drawMap());
      explain();
    }

    function describeNode() {
      const attributes = lrnFormula.attributes(state.kind, state);
      const texts = Object.entries(attributes).map(([name, value]) => `${name} = ${name === "kernel_shape" ? `[${value}, ${value}]` : short(value)}`);
      const link = element("a", { download: `lrn-${state.kind}.onnx`, href: "#" }, words.save);
      link.addEventListener("click", () => {
        link.href = URL.createObjectURL(new Blob([lrnEngine.modelOf(state.kind, attributes)], { type: "application/octet-stream" }));
      });
      node.replaceChildren(words.model, element("code", {}, `${state.kind === "across" ? "LRN" : "onnxnorm.IntraChannelLRN"} (${texts.join(", ")})`), " ", link);
    }

    // Draws by the formula at once, and again when the runtime has answered; of many changes the last one counts.
    async function update() {
      delete root.dataset.ready;
      showControls();
      describeNode();
      const expected = lrnFormula.outputs(state.kind, state, state.values);
      state.results = expected;
      draw();
      if (failure) {
        root.dataset.ready = "formula";
        return;
      }
      if (busy) {
        again = true;
        return;
      }
      busy = true;
      let way = "runtime";
      try {
        await lrnEngine.load(folder);
        started = true;
        do {
          again = false;
          const asked = { kind: state.kind, values: [...state.values], expected: lrnFormula.outputs(state.kind, state, state.values) };
          const results = await lrnEngine.run(asked.kind, lrnFormula.attributes(asked.kind, state), asked.values);
          if (again) continue;
          state.results = results;
          draw();
          compare(asked.expected, results);
        } while (again);
      } catch (error) {
        // What one setting of the sliders breaks, the next may not; a runtime that does not start stays away.
        way = "formula";
        if (!started) failure = error;
        told.textContent = (["wasm", "missing"].includes(error.message) ? words[error.message] : words.failed(error.message)) + words.formula;
      }
      busy = false;
      root.dataset.ready = way;
    }

    function compare(expected, results) {
      const alike = expected.every((value, place) => Number.isFinite(value) || Object.is(value, results[place]));
      const errors = expected.map((value, place) => (Number.isFinite(value) ? Math.abs(value - results[place]) : 0));
      const finite = expected.every(Number.isFinite);
      told.textContent = words.computed + (!finite && alike ? words.undefinedToo : words.difference(short(Math.max(...errors))));
      root.dataset.results = JSON.stringify(results.map(String));
    }

    const sliders = [slider("n", 1, 9, 1), slider("k", 0, 4, 0.1), slider("alpha", 0, ALPHAS.length - 1, 1), slider("beta", 0.05, 2, 0.05)];
    const panel = element("div", { class: "lrn-panel" }, choice("kind", ["across", "within"]), ...sliders, choice("input", ["ones", "loud", "ramp", "dead", "own"]), element("div", { class: "lrn-buttons" }, ...buttons()));
    const key = element("div", { class: "lrn-key" }, ...["before", "after", "near"].map((name) => element("span", {}, element("i", { class: `lrn-${name}` }), words[name])));
    root.replaceChildren(panel, key, chart, own, sum, element("p", { class: "lrn-hint" }, words.choose), node, told);
    fill();
    update();
  }

  return { start };
})();

// The runtime is some megabytes: it is loaded when the playground comes into view.
for (const root of document.querySelectorAll("#lrn-playground")) {
  const folder = root.dataset.folder;
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    lrnPlayground.start(root, folder);
  }, { rootMargin: "300px" }).observe(root);
}
