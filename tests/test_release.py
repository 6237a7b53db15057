"""The release machinery: one version, a list of changes, wheels as they should be, constraint files that are true."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from release.build import differences
from release.check import LARGEST, ROOT, faults_of_sdist, faults_of_version, faults_of_wheel, own_version
from release.sizes import parts_of_library, parts_of_wheel

CHANGES = "# Changes\n\n## Unreleased\n\n{unreleased}\n## 1.2.3\n\n{released}\n## 1.2.2\n\n- Old.\n"


@pytest.mark.parametrize(
    ("tag", "unreleased", "released", "fault"),
    [
        ("v1.2.3", "", "- New.", None),
        ("v1.2.4", "", "- New.", "the tag is v1.2.4"),
        ("1.2.3", "", "- New.", "the tag is 1.2.3"),
        ("v1.2.3", "- Forgotten.", "- New.", "under Unreleased"),
        ("v1.2.3", "", "", "is empty"),
    ],
)
def test_a_release_needs_one_version_and_its_changes(
    tag: str, unreleased: str, released: str, fault: str | None
) -> None:
    faults = faults_of_version(tag, "1.2.3", CHANGES.format(unreleased=unreleased, released=released))
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_a_version_without_changes_is_not_released() -> None:
    assert faults_of_version("v2.0", "2.0", "# Changes\n") == ["CHANGELOG.md has no section 2.0"]


@pytest.mark.parametrize(
    ("name", "files", "fault"),
    [
        ("onnxnorm-1.0-py3-none-any.whl", ["onnxnorm/__init__.py", "onnxnorm-1.0.dist-info/WHEEL"], None),
        ("onnxnorm-1.0-py3-none-win_amd64.whl", ["onnxnorm/onnxnorm_custom_ops.dll"], None),
        ("onnxnorm-1.0-cp311-cp311-win_amd64.whl", ["onnxnorm/onnxnorm_custom_ops.dll"], "not py3-none"),
        ("onnxnorm-1.0-py3-none-win_amd64.whl", ["onnxnorm/__init__.py"], "no library"),
        ("onnxnorm-1.0-py3-none-any.whl", ["onnxnorm/onnxnorm_custom_ops.dll"], "its platform is any"),
        ("onnxnorm-1.0-py3-none-any.whl", ["onnxnorm/__init__.py", "tests/x.py"], "it holds tests/x.py"),
        ("onnxnorm-1.0-py3-none-linux_x86_64.whl", ["onnxnorm/onnxnorm_custom_ops.dll"], "which no index takes"),
    ],
)
def test_a_wheel_is_looked_into(tmp_path: Path, name: str, files: list[str], fault: str | None) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for each in files:
            archive.writestr(each, "")
    faults = faults_of_wheel(tmp_path / name)
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_a_large_wheel_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "onnxnorm-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("onnxnorm/large", b"\0" * (LARGEST + 1))
    assert "more than" in faults_of_wheel(tmp_path / "onnxnorm-1.0-py3-none-any.whl")[0]


_NEEDED = ["CHANGELOG.md", "LICENSE", "pyproject.toml", "onnxnorm/__init__.py", "custom_ops/src/a.cpp"]


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (_NEEDED, None),
        (_NEEDED[:-1], "it lacks custom_ops/src/"),
        (_NEEDED[1:], "it lacks CHANGELOG.md"),
        ([*_NEEDED, "tests/test_x.py"], "it holds tests/test_x.py"),
        ([*_NEEDED, "custom_ops/tests/x.cpp"], "it holds custom_ops/tests/x.cpp"),
    ],
)
def test_a_source_distribution_is_looked_into(tmp_path: Path, files: list[str], fault: str | None) -> None:
    sdist = tmp_path / "onnxnorm-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in files:
            archive.addfile(tarfile.TarInfo(f"onnxnorm-1.0/{name}"))
    assert faults_of_sdist(sdist) == ([] if fault is None else [fault])


def test_two_builds_are_compared_as_a_whole(tmp_path: Path) -> None:
    files = []
    for place, (content, date) in enumerate([(b"1", 2000), (b"1", 2000), (b"2", 2000), (b"1", 2001)]):
        folder = tmp_path / str(place)
        folder.mkdir()
        files.append(folder / "onnxnorm-1.0-py3-none-any.whl")
        with zipfile.ZipFile(files[-1], "w") as archive:
            archive.writestr(zipfile.ZipInfo("onnxnorm/a.py", (date, 1, 1, 0, 0, 0)), content)
    assert differences(files[0], files[1]) == []
    assert differences(files[0], files[2]) == ["onnxnorm-1.0-py3-none-any.whl: onnxnorm/a.py"]
    assert differences(files[0], files[3]) == ["onnxnorm-1.0-py3-none-any.whl: its packing"]


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs binutils")
@pytest.mark.parametrize(("suffix", "listed"), [("so", "{} T 0 0"), ("dylib", "_{} T 0 0")])
@pytest.mark.parametrize("more", [[], ["other"]])
def test_a_library_exports_its_entry_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, listed: str, more: list[str]
) -> None:
    wheel = tmp_path / "onnxnorm-1.0-py3-none-macosx_13_0_arm64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"onnxnorm/libonnxnorm_custom_ops.{suffix}", b"")
    lines = "\n".join(listed.format(name) for name in ("RegisterCustomOps", *more))
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, lines))
    assert len(faults_of_wheel(wheel)) == len(more)


def test_the_bytes_of_a_wheel_are_told_apart(tmp_path: Path) -> None:
    wheel = tmp_path / "onnxnorm-1.0-py3-none-any.whl"
    members = {
        "onnxnorm/a.py": 3000,
        "onnxnorm/b.py": 2000,
        "onnxnorm/libonnxnorm_custom_ops.so": 9000,
        "onnxnorm/c": 7,
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, size in members.items():
            archive.writestr(name, b"\0" * size)
    parts = parts_of_wheel(wheel)
    assert [part[:3] for part in parts[:2]] == [("kernels", 1, 9000), ("Python", 2, 5000)]
    assert sum(packed for *_, packed in parts) == wheel.stat().st_size
    sizes = [("a/avx2.cpp.o", 500), ("a/avx2_norm.cpp.o", 200), ("b/lrn_op.cpp.o", 20), ("b/dispatch.cpp.o", 10)]
    assert parts_of_library(sizes, 1000) == [
        ("kernels of LRN, avx2", 500),
        ("parts of the C++ library, less what no one calls", 270),
        ("kernels of norms, avx2", 200),
        ("operators, shapes and choice of kernels", 30),
    ]


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / "release" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def _floors() -> dict[str, str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r'"([\w-]+)>=([\d.]+)"', listed))


def test_the_oldest_are_the_floors() -> None:
    oldest = _pins("oldest")
    assert oldest.keys() == _floors().keys() == _pins("newest").keys()
    assert all(f"{oldest[name]}.".startswith(f"{floor}.") for name, floor in _floors().items())


def test_what_is_installed_lies_between_oldest_and_newest() -> None:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

    oldest, newest = _pins("oldest"), _pins("newest")
    for name in oldest:
        assert number(oldest[name]) <= number(importlib.metadata.version(name)) <= number(newest[name]), name


def test_the_version_is_in_one_place() -> None:
    command = ["git", "grep", "--fixed-strings", "--files-with-matches", f'"{own_version()}"', "--", "*.py", "*.toml"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert files in ([], ["pyproject.toml"])  # [] where there is no repository


def test_the_page_of_the_package_has_no_links_into_the_repository() -> None:
    page = (ROOT / "PACKAGE.md").read_text(encoding="utf-8")
    assert not re.findall(r"\]\((?!https://)", page)


def test_the_commands_say_how_they_are_called() -> None:
    for script in ("build.py", "check.py", "sizes.py", "smoke.py"):
        done = subprocess.run([sys.executable, ROOT / "release" / script, "--help"], capture_output=True, text=True)
        assert done.returncode == 0 and "usage" in done.stdout
