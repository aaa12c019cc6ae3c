"""Checkpoints: reading one, who made it, and whether training may go on from it."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml

from basics.errors import UserError
from basics.names import CHECKPOINTS, CONFIG
from experiments.cli.run_options import owner
from experiments.configs import Config, differences, short
from experiments.runs import RunFolder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without running any code that may be in it.

    Raises:
        UserError: The file is not a checkpoint of this project.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        checkpoint["hyper_parameters"]["_class_path"]
    except Exception as error:  # damaged and foreign files raise errors of many types
        raise UserError(
            f"{path} is not a checkpoint of `lightning fit`; weights alone go to --model.weights"
        ) from error
    return checkpoint


def config_of(path: Path) -> Path | None:
    """Path of the config of the run that a checkpoint belongs to; None if it does not lie in a run's folder."""
    config = path.parent.parent / CONFIG
    return config if path.parent.name == CHECKPOINTS and config.is_file() else None


def from_checkpoint(args: Sequence[str]) -> list[str]:
    """Complete `predict --ckpt_path FILE` and the like: what is not typed comes from the run of the checkpoint.

    Args:
        args: The command line.

    Returns:
        The same with `--config` of the run's own config.yaml; if that is not beside the checkpoint any more, with
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
    if config := config_of(path):
        return [args[0], "--config", str(config), *args[1:]]
    added = []
    for option, key in (("--model", "hyper_parameters"), ("--data", "datamodule_hyper_parameters")):
        derived = ["_instantiator", "class_names"] if option == "--model" else ["_instantiator"]
        saved = {name: value for name, value in checkpoint[key].items() if name not in derived}
        whole = {"class_path": saved.pop("_class_path"), "init_args": saved}
        if option not in typed:
            added.append(f"{option}={json.dumps(whole)}")
    return [args[0], *added, *args[1:]]


def check_resumes(path: Path, checkpoint: Mapping[str, Any], folder: RunFolder, config: Config) -> None:
    """A run is resumed under its own names and with its own values.

    Args:
        path: Path of the checkpoint.
        checkpoint: Content of the file.
        folder: Folder of the run that the command line names.
        config: Resolved values of the command line.

    Raises:
        UserError: The checkpoint is another run's, or was made with other values.
    """
    other = owner(folder, path, checkpoint["callbacks"].get("Provenance", {})).name
    if other != folder.name:
        raise UserError(
            f"{path} is of the run {other}, and this is {folder.name}: give the same config, seed and fold to "
            "resume it, or start from its weights with --model.weights"
        )
    known = config_of(path)
    saved = yaml.safe_load(known.read_text()) if known else _hyper_parameters(checkpoint, config)
    # A longer run goes on with the optimizer and the schedule of the checkpoint.
    for found in differences(config, saved, "lengths"):
        raise UserError(
            f"{short(found.key)} is {found.first}, and {found.second} in {known or path}: "
            "resume a run with its own values"
        )


def _hyper_parameters(checkpoint: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Values of model and data in a checkpoint that has left its run's folder; the others as the command line says."""
    saved = dict(config)
    for key, part in (("hyper_parameters", "model"), ("datamodule_hyper_parameters", "data")):
        known = checkpoint.get(key, {})
        init_args = {name: known.get(name, value) for name, value in config[part]["init_args"].items()}
        saved[part] = {**config[part], "init_args": init_args}
    return saved


def provenance() -> dict[str, Any]:
    """State of the code and versions of the libraries that make a run."""
    packages = ("torch", "torchvision", "lightning", "torchmetrics", "timm", "albumentations", "numpy")
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def _git(*arguments: str) -> str | None:
    here = Path(__file__).parent
    try:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
