"""What is done to a command line before it is parsed."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from experiments.errors import stop
from experiments.run_folder import CONFIG, read_checkpoint


def check_yaml(args: Sequence[str]) -> None:
    """Stop at a config file that is not YAML, with its name and line."""
    for option, name in pairwise(args):
        if option in ("--config", "-c") and Path(name).is_file():
            try:
                yaml.safe_load(Path(name).read_text())
            except yaml.MarkedYAMLError as error:
                line = error.problem_mark.line + 1 if error.problem_mark else "?"
                stop(f"{name} line {line}: {error.problem}")


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
