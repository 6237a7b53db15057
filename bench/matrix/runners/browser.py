"""onnxruntime-web by WebAssembly, on a page in headless Chromium."""

import base64
import functools
import http.server
import pathlib
import shutil
import sys
import tempfile
import threading

import numpy as np
from common import main
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

PAGE = b"<!doctype html><title>matrix</title><script src='/dist/ort.wasm.min.js'></script>"
RUN = """
const [url, data, type, dims, done] = arguments;
const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
const arrays = { float32: Float32Array, float64: Float64Array, float16: Uint16Array };
(async () => {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/dist/";
  ort.env.logLevel = "fatal";
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"], logSeverityLevel: 4 });
  const x = new ort.Tensor(type, new arrays[type](bytes.buffer), dims);
  const result = (await session.run({ [session.inputNames[0]]: x }))[session.outputNames[0]];
  await session.release();
  const made = new Uint8Array(result.data.buffer, result.data.byteOffset, result.data.byteLength);
  let text = "";
  for (let place = 0; place < made.length; place += 8192) {
    text += String.fromCharCode(...made.subarray(place, place + 8192));
  }
  done({ data: btoa(text), type: result.type, dims: Array.from(result.dims) });
})().catch((error) => done({ reason: String(error.message || error) }));
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the page, the files of the runtime and those to run."""

    def translate_path(self, path):
        place = pathlib.Path(sys.argv[2], "node_modules", "onnxruntime-web", "dist")
        folder = place if path.startswith("/dist/") else pathlib.Path(sys.argv[1])
        return str(folder / pathlib.PurePosixPath(path.partition("?")[0]).name)

    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)
        return None

    def guess_type(self, path):
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_):
        pass


def started(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    quiet = ("background-networking", "component-update", "sync", "gpu", "quic", "dev-shm-usage")
    for word in ("headless=new", "no-sandbox", "no-first-run", *(f"disable-{each}" for each in quiet)):
        options.add_argument(f"--{word}")
    options.add_argument(f"--user-data-dir={profile}")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def bind(driver, address, path, x):
    def run(x):
        data = base64.b64encode(np.ascontiguousarray(x).tobytes()).decode()
        url = f"{address}/{pathlib.Path(path).name}"
        answer = driver.execute_async_script(RUN, url, data, str(x.dtype), list(x.shape))
        if "reason" in answer:
            raise RuntimeError(answer["reason"])
        return np.frombuffer(base64.b64decode(answer["data"]), answer["type"]).reshape(answer["dims"])

    return [run]


def run_all():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        driver = started(profile)
        try:
            driver.set_script_timeout(120)
            address = f"http://127.0.0.1:{server.server_port}"
            driver.get(address)
            main(functools.partial(bind, driver, address))
        finally:
            driver.quit()
            server.shutdown()


run_all()
