"""Tests that shells complete commands, options and targets with what `onnxnorm completion` prints."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from onnxnorm import cli
from tests.cli.samples import Captured


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "wanted", "unwanted"),
    [
        (["opt"], {"optimize"}, {"inspect"}),
        (["optimize", "--ver"], {"--verify"}, {"--repeat"}),
        (["run", "--re"], {"--repeat"}, {"--verify"}),
        (["optimize", "--target", "open"], {"openvino"}, {"web"}),
        (["optimize", "in."], set(), {"--verify"}),
    ],
)
def test_bash_completes(words: list[str], wanted: set[str], unwanted: set[str], capsys: Captured) -> None:
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    given = " ".join(f"'{word}'" for word in ["onnxnorm", *words])
    program = f'{script}\nCOMP_WORDS=({given}); COMP_CWORD={len(words)}; _onnxnorm; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert wanted <= found
    assert not unwanted & found


@pytest.mark.parametrize(("shell", "told"), [("zsh", "bashcompinit"), ("fish", "-a optimize")])
def test_other_shells_get_theirs(shell: str, told: str, capsys: Captured) -> None:
    assert cli.main(["completion", shell]) == 0
    assert told in capsys.readouterr().out
