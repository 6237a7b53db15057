#!/usr/bin/env python3
"""Runs the kernels by themselves, against the formula: under sanitizers, and on other processors by emulation.

    python custom_ops/check.py address      AddressSanitizer and UndefinedBehaviorSanitizer
    python custom_ops/check.py thread       ThreadSanitizer
    python custom_ops/check.py avx512       the AVX-512 kernels' width, each operation as two of AVX2
    python custom_ops/check.py neon         built by a cross compiler for aarch64, run by qemu-user
                                            (Debian: g++-aarch64-linux-gnu and qemu-user-static)
    python custom_ops/check.py all          each of these in turn

`--quick` builds the baseline instruction set alone, for float and float16, and runs fewer cases. Needs CMake and a
C++20 compiler.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
NEON = [
    "-DCMAKE_SYSTEM_NAME=Linux",
    "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
    "-DCMAKE_EXE_LINKER_FLAGS=-static",
]
BUILDS = {
    "address": ["-DONNXNORM_SANITIZE=address,undefined", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"],
    "thread": ["-DONNXNORM_SANITIZE=thread", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"],
    "avx512": ["-DONNXNORM_EMULATE_AVX512=ON"],
    "neon": NEON,
}


def command(*parts: str | Path) -> None:
    print("+", *parts, flush=True)
    result = subprocess.run([str(part) for part in parts])
    if result.returncode:
        sys.exit(f"error: {Path(parts[0]).name} ended with exit code {result.returncode}")


def check(name: str, quick: bool) -> None:
    cmake = shutil.which("cmake") or shutil.which("cmake", path=str(Path(sys.executable).parent))
    if cmake is None:
        sys.exit("error: there is no cmake; install it (pip install cmake)")
    launcher: list[str] = []
    if name == "neon":
        qemu = next(filter(None, map(shutil.which, ("qemu-aarch64-static", "qemu-aarch64"))), None)
        if qemu is None or shutil.which("aarch64-linux-gnu-g++") is None:
            sys.exit(
                "error: this needs a cross compiler and an emulator (Debian: g++-aarch64-linux-gnu, qemu-user-static)"
            )
        launcher = [qemu]
    with tempfile.TemporaryDirectory() as folder:
        options = ["-DONNXNORM_TESTS=ON", *BUILDS[name]]
        if quick and name != "avx512":
            options += ["-DONNXNORM_BASELINE_ONLY=ON", "-DONNXNORM_FEW_TYPES=ON", "-DCMAKE_CXX_FLAGS_RELEASE=-O0"]
        command(cmake, "-S", SOURCE, "-B", folder, *options)
        command(cmake, "--build", folder, "--parallel", "2")
        command(*launcher, Path(folder, "kernel_tests"), *(["--quick"] if quick else []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*BUILDS, "all"])
    parser.add_argument("--quick", action="store_true", help="the baseline instruction set, two types and fewer cases")
    arguments = parser.parse_args()
    for name in BUILDS if arguments.what == "all" else [arguments.what]:
        check(name, arguments.quick)


if __name__ == "__main__":
    main()
