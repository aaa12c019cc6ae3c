"""Values in which two runs may differ: one list, for resume, tables and statistics alike.

Whole configs are compared, as the parser has resolved them: config.yaml in a run's folder holds every value, defaults
included, in whatever way it was given.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]
Between = Literal["runs", "repetitions", "arms", "lengths"]

# A key stands for everything below it.
MAY_DIFFER: Mapping[Between, tuple[str, ...]] = {
    # Any two runs: where files are, what is shown, how many processes share the work.
    "runs": (
        "run",
        "ckpt_path",
        "weights_only",
        "trainer.logger",
        "trainer.enable_progress_bar",
        "trainer.default_root_dir",
        "trainer.devices",
        "data.init_args.root",
        "data.init_args.num_workers",
        "data.init_args.cache_dir",
        "data.init_args.predict_folder",
        "data.init_args.download",
        "model.init_args.cache_gb",
    ),
    # Repetitions of an arm.
    "repetitions": ("seed_everything", "data.init_args.fold"),
    # Arms of a study: what an arm is, and the learning rate that suits it.
    "arms": ("model.init_args.strategy", "model.init_args.lr"),
    # Arms that share a cost instead of epochs.
    "lengths": ("trainer.max_epochs", "trainer.max_steps"),
}


@dataclass(frozen=True)
class Difference:
    """One value in which two configs differ; `absent` where a config lacks the key."""

    key: str
    first: Any
    second: Any


def differences(first: Config, second: Config, *between: Between) -> Iterator[Difference]:
    """Compare two resolved configs.

    Args:
        first: A config.
        second: Another.
        between: Lists of MAY_DIFFER that apply beside "runs".

    Yields:
        Every value that the lists do not allow to differ, in the order of the keys.
    """
    allowed = [key for kind in ("runs", *between) for key in MAY_DIFFER[kind]]
    mine = dict(flat(first))
    others = dict(flat(second))
    for key in sorted(mine.keys() | others.keys()):
        values = mine.get(key, "absent"), others.get(key, "absent")
        if not is_under(key, allowed) and not _equal(*values):
            yield Difference(key, *values)


def flat(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give dotted keys and values of nested mappings."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def look_up(config: Config, key: str) -> Any:
    """Value of a dotted key, `init_args` included; None if there is none."""
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def replaced(config: Config, key: str, value: Any) -> dict[str, Any]:
    """Copy of a config with another value of a dotted key."""
    name, _, rest = key.partition(".")
    return {**config, name: replaced(config[name], rest, value) if rest else value}


def is_under(key: str, names: tuple[str, ...] | list[str]) -> bool:
    """True if a dotted key is one of the names, or below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def short(key: str) -> str:
    """A key as it is typed on the command line, without `init_args`."""
    return key.replace(".init_args", "").removesuffix(".class_path")


def _equal(first: Any, second: Any) -> bool:
    """Equal values; texts are equal, too, if they are one path written in two ways."""
    if isinstance(first, str) and isinstance(second, str):
        return _absolute(first) == _absolute(second)
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
