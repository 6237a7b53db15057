"""Runs each file of a list and writes what comes out, or why nothing does."""

import json
import pathlib
import sys


def main(bind):
    """Run all files; `bind(path)` returns a function from the input array to the first output."""
    import numpy as np

    folder = pathlib.Path(sys.argv[1])
    for name in json.loads((folder / "todo.json").read_text(encoding="utf-8")):
        x = np.load(folder / f"{name}.x.npy")
        try:
            results = [np.asarray(run(x)) for run in bind(str(folder / f"{name}.onnx"), x)]
            for place, result in enumerate(results):
                np.save(folder / f"{name}.{place}.y.npy", result)
            answer = {"outputs": len(results)}
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            answer = {"reason": words[:3000]}
        unfinished = folder / f"{name}.part"
        unfinished.write_text(json.dumps(answer), encoding="utf-8")
        unfinished.rename(folder / f"{name}.out.json")


def installed():
    """Put the folder of the runtime in front of all others."""
    if sys.argv[2]:
        sys.path.insert(0, sys.argv[2])
    return sys.argv[3:]
