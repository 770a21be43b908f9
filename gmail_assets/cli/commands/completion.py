"""`gmail-assets completion`: print a shell completion script."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from gmail_assets.cli.command import Command
from gmail_assets.cli.exit_codes import ExitCode

__all__ = ["DESCRIPTION", "HELP", "NAME", "PASSES_ON", "add_arguments", "run"]

NAME = "completion"
HELP = "print a completion script for bash, zsh or fish"
DESCRIPTION = """\
Print a script that completes commands, options and table names. Load it in your shell's startup file:

  bash   eval "$(gmail-assets completion bash)"
  zsh    eval "$(gmail-assets completion zsh)"
  fish   gmail-assets completion fish | source
"""
PASSES_ON = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=sorted(_SHELLS), help="shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(_SHELLS[arguments.shell](arguments.commands))
    return ExitCode.SUCCESS


def _words(commands: Sequence[Command]) -> dict[str, dict[str, str]]:
    """Completion words of each command: options, positional choices and tables, with their help."""
    from gmail_client.tables import CATALOGUE
    from gmail_client.views import VIEWS

    found: dict[str, dict[str, str]] = {}
    for command in commands:
        parser = argparse.ArgumentParser(prog="gmail-assets")
        if not command.PASSES_ON:
            command.add_arguments(parser)
        words: dict[str, str] = {}
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--"):
                    words[option] = (action.help or "").replace("show this help message and exit", "help")
            if not action.option_strings and action.choices:
                words.update(dict.fromkeys(map(str, action.choices), action.help or ""))
            if action.dest == "tables":
                words.update({name: entry.description for name, entry in CATALOGUE.items()})
                words.update({name: view.description for name, view in VIEWS.items()})
        found[command.NAME] = words
    return found


def _helps(commands: Sequence[Command]) -> Mapping[str, str]:
    return {command.NAME: command.HELP for command in commands}


def _bash(commands: Sequence[Command]) -> str:
    words = _words(commands)
    cases = "\n".join(f'    {command}) words="{" ".join(options)}" ;;' for command, options in words.items())
    return f"""\
_gmail_assets() {{
  local words="{" ".join(words)}"
  if [ "$COMP_CWORD" -gt 1 ]; then
    case "${{COMP_WORDS[1]}}" in
{cases}
    *) words="" ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
  [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _gmail_assets gmail-assets
"""


def _zsh(commands: Sequence[Command]) -> str:
    words = _words(commands)

    def described(pairs: Mapping[str, str]) -> str:
        return " ".join(_quoted(f"{word}:{text}") for word, text in pairs.items())

    cases = "\n".join(
        f"    {command}) entries=({described(options)}) ;;" for command, options in words.items()
    )
    return f"""\
_gmail_assets() {{
  local -a entries
  if (( CURRENT == 2 )); then
    entries=({described(_helps(commands))})
  else
    case "${{words[2]}}" in
{cases}
    esac
  fi
  _describe 'gmail-assets' entries || _files
}}
compdef _gmail_assets gmail-assets
"""


def _fish(commands: Sequence[Command]) -> str:
    words = _words(commands)
    lines = [
        f"complete -c gmail-assets -n __fish_use_subcommand -f -a {command} -d {_quoted(text)}"
        for command, text in _helps(commands).items()
    ]
    for command, options in words.items():
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        for word, text in options.items():
            kind = f"-l {word.removeprefix('--')}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c gmail-assets {seen} {kind} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote for all three shells: in single quotes, without single quotes inside."""
    return "'" + text.replace("'", "’") + "'"


_SHELLS = {"bash": _bash, "fish": _fish, "zsh": _zsh}
