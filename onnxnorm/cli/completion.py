"""Runs `onnxnorm completion`, which prints what makes a shell complete commands, options and targets."""

from __future__ import annotations

import argparse

from onnxnorm.validate.choices import TARGET_NAMES

__all__ = ["DESCRIPTIONS", "add_arguments", "run"]

DESCRIPTIONS = {
    "completion": """print what makes a shell complete this program

bash: eval "$(onnxnorm completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc;
fish: onnxnorm completion fish > ~/.config/fish/completions/onnxnorm.fish""",
}

_BASH = """_onnxnorm() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    elif [ "$before" = "--target" ]; then
        words="{targets}"
    elif [ "${{word:0:1}}" = "-" ]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _onnxnorm onnxnorm"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    options = _options()
    if arguments.shell == "fish":
        first = "complete -c onnxnorm -n __fish_use_subcommand"
        print("\n".join(f"{first} -f -a {command}" for command in options))
        for command, names in options.items():
            seen = f"complete -c onnxnorm -n '__fish_seen_subcommand_from {command}'"
            print("\n".join(f"{seen} -l {name.removeprefix('--')}" for name in names))
        return 0
    if arguments.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    cases = "\n".join(f'            {command}) words="{" ".join(names)}" ;;' for command, names in options.items())
    print(_BASH.format(commands=" ".join(options), targets=" ".join(TARGET_NAMES), cases=cases))
    return 0


def _options() -> dict[str, list[str]]:
    """Return the long options of each command."""
    from onnxnorm.cli import parsers

    return {
        name: [text for text in parser._option_string_actions if text.startswith("--")]
        for name, parser in parsers().items()
    }
