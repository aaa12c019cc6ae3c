"""What is done to a command line before it is parsed."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from basics.errors import stop
from experiments.cli.messages import no_config


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


def from_checkpoint(args: Sequence[str]) -> list[str]:
    """Complete `predict --ckpt_path FILE` and the like: what is not typed comes from the run of the checkpoint.

    Args:
        args: The command line.

    Returns:
        The same with `--config` of the run's own config.yaml; where that is not beside the checkpoint any more, with
        `--model` and `--data` as the checkpoint has them.
    """
    args = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--ckpt_path=") else [arg])]
    typed = {arg.split("=")[0] for arg in args if arg.startswith("-")}
    path = next((Path(value) for name, value in pairwise(args) if name == "--ckpt_path"), None)
    if typed & {"--config", "-c"} or path is None or not path.is_file():
        return args
    from experiments.runs import CONFIG, read_checkpoint  # torch comes with it

    checkpoint = read_checkpoint(path)
    data = checkpoint["datamodule_hyper_parameters"]
    if args[0] == "predict" and "class_names" in data:  # so that the images of training need not be there
        args = [*args, f"--data.class_names={json.dumps(checkpoint['hyper_parameters']['class_names'])}"]
    config = path.parent.parent / CONFIG
    if path.parent.name == "checkpoints" and config.is_file():
        return [args[0], "--config", str(config), *args[1:]]
    added = []
    for option, key in (("--model", "hyper_parameters"), ("--data", "datamodule_hyper_parameters")):
        derived = {"_instantiator"} | ({"class_names"} if option == "--model" else set())
        saved = {name: value for name, value in checkpoint[key].items() if name not in derived}
        whole = {"class_path": saved.pop("_class_path"), "init_args": saved}
        if option not in typed:
            added.append(f"{option}={json.dumps(whole)}")
    return [args[0], *added, *args[1:]]
