"""Mistakes in a command line that are seen before the parser is imported."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from basics.errors import stop


def no_config(path: str) -> str:
    """Message for a config file that does not exist."""
    return f"no config file {path}: --config takes a YAML file, those of this project are in configs/"


def check_subcommand(word: str, known: Iterable[str]) -> None:
    """Stop at a word that is none of the subcommands; options may stand before the subcommand."""
    if not word.startswith("-") and word not in known:
        stop(f"argument subcommand: invalid choice: {word!r} (choose from {', '.join(map(repr, known))})")


def check_configs(args: Sequence[str]) -> None:
    """Stop at a config file that does not exist, or that is not YAML: with its line."""
    for name in config_names(args):
        path = Path(name).expanduser()
        if path.is_file():
            try:
                yaml.safe_load(path.read_text())
            except yaml.MarkedYAMLError as error:
                line = error.problem_mark.line + 1 if error.problem_mark else "?"
                stop(f"{name} line {line}: {error.problem}")
            except (yaml.YAMLError, UnicodeDecodeError):
                stop(f"{name} is not a text file: --config takes a YAML file")
        elif not path.exists() and name != "-" and not {"{", ":"} & set(name):  # nor YAML itself, nor a URL
            stop(no_config(os.path.abspath(path)))


def config_names(args: Sequence[str]) -> Iterator[str]:
    """The values of `--config` and `-c`."""
    for option, value in pairwise(args):
        if option in ("--config", "-c"):
            yield value
    yield from (arg.removeprefix("--config=") for arg in args if arg.startswith("--config="))
