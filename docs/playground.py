"""Prepares the LRN playground of the tutorial: the exported models, and onnxruntime-web for the built site.

    python docs/playground.py      # exports the models anew, into tutorial/playground/models.js

While the site is built, npm fetches onnxruntime-web, whose archive has to have the checksum below, and the parts of it
that the page runs become one script of the site. Without npm the site is built all the same, and the page says so.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
import posixpath
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "tutorial" / "playground"
CACHE = Path(__file__).resolve().parents[1] / "out" / "cache"
VERSION = "1.30.0"
_INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_SCRIPTS = ("words.js", "formula.js", "models.js", "engine.js", "playground.js")
_LOG = logging.getLogger("mkdocs.hooks.playground")


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Add the scripts to the pages that have the playground."""
    if 'id="lrn-playground"' not in output:
        return output
    folder = posixpath.relpath("tutorial/playground", posixpath.dirname(page.file.dest_uri) or ".")
    head = f'<link rel="stylesheet" href="{folder}/playground.css">'
    scripts = "".join(f'<script src="{folder}/{name}"></script>' for name in _SCRIPTS)
    output = output.replace('id="lrn-playground"', f'id="lrn-playground" data-folder="{folder}"', 1)
    return output.replace("</head>", f"{head}</head>", 1).replace("</body>", f"{scripts}</body>", 1)


def on_post_build(config: Any, **_: Any) -> None:
    """Write the runtime into the site."""
    try:
        text = runtime()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _LOG.info("The LRN playground is built without onnxruntime-web: %s", error)
        return
    (Path(config.site_dir) / "tutorial" / "playground" / "runtime.js").write_text(text, encoding="utf-8")


def runtime() -> str:
    """Return onnxruntime-web as one script, fetched once and kept.

    Raises:
        OSError, subprocess.SubprocessError: npm is missing, or does not reach its registry.
        ValueError: the archive is another than expected.
    """
    kept = CACHE / f"onnxruntime-web-{VERSION}.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("npm is not installed")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", "--silent", f"onnxruntime-web@{VERSION}"]
            try:
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
            except subprocess.SubprocessError:
                # A registry that was busy may answer the next time.
                subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
            text = _script_of(Path(folder, f"onnxruntime-web-{VERSION}.tgz"))
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=CACHE, delete=False) as file:
            file.write(text)
        Path(file.name).replace(kept)
    return kept.read_text(encoding="utf-8")


def _script_of(archive: Path) -> str:
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(digest).decode() != _INTEGRITY:
        raise ValueError(f"{archive.name} does not have the checksum that is expected")
    with tarfile.open(archive) as files:

        def read(name: str) -> bytes:
            member = files.extractfile(f"package/dist/{name}")
            assert member is not None, name
            return member.read()

        main, wasm = read("ort.wasm.min.js").decode(), read("ort-wasm-simd-threaded.wasm")
        parts = {"wasm": gzip.compress(wasm, mtime=0), "module": read("ort-wasm-simd-threaded.mjs")}
    texts = {name: base64.b64encode(data).decode() for name, data in parts.items()}
    # The notice of its licence (MIT) stands at the head of the script itself.
    main = main.partition("\n//# sourceMappingURL")[0]
    return f"{main}\nwindow.ORT_FILES = {json.dumps(texts)};\n"


def models() -> str:
    """Export one model of each kind; return a script with their bytes and where each constant stands in them."""
    import torch

    import onnxnorm

    kinds: dict[str, tuple[torch.nn.Module, list[int]]] = {
        "across": (torch.nn.LocalResponseNorm(3, alpha=3.0, beta=1.0, k=1.0), [1, 8, 1, 1]),
        "within": (onnxnorm.layers.IntraChannelLRN((3, 3), alpha=3.0, beta=1.0, bias=1.0), [1, 1, 8, 8]),
    }
    told = {}
    for kind, (module, shape) in kinds.items():
        model = onnxnorm.export(module.eval(), (torch.rand(shape),))
        model.ClearField("producer_version")
        data = model.SerializeToString(deterministic=True)
        told[kind] = {"model": base64.b64encode(data).decode(), "places": places(model), "shape": shape}
    return f"const LRN_MODELS = {json.dumps(told)};\n"


def places(model: Any) -> dict[str, list[int]]:
    """Return where in the bytes of a model the constants of its node begin: floats of four bytes, integers of one."""
    before = model.SerializeToString(deterministic=True)
    found = {}
    for attribute in model.graph.node[0].attribute:
        other = type(model)()
        other.CopyFrom(model)
        (own,) = [each for each in other.graph.node[0].attribute if each.name == attribute.name]
        if attribute.ints:
            own.ints[:] = [value + 1 for value in own.ints]
        elif attribute.i:
            own.i += 1
        else:
            own.f = -own.f
        after = other.SerializeToString(deterministic=True)
        assert len(after) == len(before), attribute.name
        changed = [place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        # The sign is in the last byte of a float.
        found[attribute.name] = changed if attribute.ints or attribute.i else [changed[0] - 3]
    return found


if __name__ == "__main__":
    (FOLDER / "models.js").write_text(models(), encoding="utf-8")
