"use strict";
// Runs the exported models in onnxruntime-web. The runtime comes with the site as one script, loaded at first use.
const lrnEngine = (() => {
  let runtime = null;

  function bytesOf(text) {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  }

  async function unpacked(text) {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function script(address) {
    return new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = address;
      tag.onload = resolve;
      tag.onerror = () => reject(new Error("missing"));
      document.head.append(tag);
    });
  }

  async function start(folder) {
    if (typeof WebAssembly !== "object") throw new Error("wasm");
    await script(`${folder}/runtime.js`);
    const { wasm, module } = window.ORT_FILES;
    // Pages that are opened from disk may not fetch files: both parts are handed over instead.
    ort.env.wasm.wasmBinary = await unpacked(wasm);
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([bytesOf(module)], { type: "text/javascript" })) };
    ort.env.wasm.numThreads = 1;
    return ort;
  }

  // The bytes of a model with other constants: each stands at a known place, and keeps its length.
  function modelOf(kind, attributes) {
    const { model, places } = LRN_MODELS[kind];
    const bytes = bytesOf(model);
    const numbers = new DataView(bytes.buffer);
    for (const [name, value] of Object.entries(attributes)) {
      for (const place of places[name]) {
        if (name === "size" || name === "kernel_shape") bytes[place] = value;
        else numbers.setFloat32(place, value, true);
      }
    }
    return bytes;
  }

  return {
    load(folder) {
      runtime = runtime || start(folder);
      return runtime;
    },
    modelOf,
    async run(kind, attributes, values) {
      const ort = await runtime;
      const session = await ort.InferenceSession.create(modelOf(kind, attributes), { executionProviders: ["wasm"] });
      try {
        const { shape } = LRN_MODELS[kind];
        const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", Float32Array.from(values), shape) };
        return Array.from((await session.run(feeds))[session.outputNames[0]].data);
      } finally {
        await session.release();
      }
    },
  };
})();
