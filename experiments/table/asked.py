"""What a command line of `fit` asks for, against what a run was made with.

Both are compared as plain YAML: a table looks at all of its runs before it does anything, and the parser takes seconds.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

# Where a run is and what is shown of it; two runs that differ only here are the same.
FREE = [
    *("run", "ckpt_path", "trainer.logger", "trainer.enable_progress_bar", "trainer.default_root_dir"),
    *("data.root", "data.num_workers", "data.cache_dir", "data.predict_folder", "model.cache_gb"),
]

Tree = dict[str, Any]


def options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of every `--name value` and `--name=value`."""
    for arg, following in pairwise([*("--config" if arg == "-c" else arg for arg in args), ""]):
        if arg.startswith("--"):
            name, equals, value = arg[2:].partition("=")
            yield name, value if equals else following


def asked(args: Sequence[str]) -> Tree:
    """The configs and options of a command line in one tree; later ones win."""
    tree: Tree = {}
    for name, value in options(args):
        if name == "config":
            path = Path(value).expanduser()
            tree = _merge(tree, yaml.safe_load(path.read_text() if path.is_file() else value) or {})
        elif not name.endswith("+"):  # what it adds to is not known here
            _put(tree, name.split("."), _value(value))
    return tree


def look_up(tree: Any, key: str) -> Any:
    """The value of a dotted key, as typed: without `init_args`; None where there is none."""
    for part in key.split("."):
        if not isinstance(tree, Mapping):
            return None
        tree = tree[part] if part in tree else (tree.get("init_args") or {}).get(part)
    return tree


def is_free(key: str) -> bool:
    """Whether two runs may differ in it."""
    return any(key == free or key.startswith(free + ".") for free in FREE)


def differences(wanted: Any, saved: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key and both values wherever a run's saved config has not what is asked for."""
    if is_free(key):
        return
    if isinstance(wanted, str) and isinstance(saved, Mapping):  # a class by its name alone
        wanted = {"class_path": wanted}
    if not isinstance(wanted, Mapping) or not isinstance(saved, Mapping):
        if not _same(wanted, saved):
            yield key, wanted, saved
        return
    for name, value in wanted.items():
        below = key if name == "init_args" else f"{key}.{name}".lstrip(".")
        if name == "class_path":
            mine, theirs = (str(path).rsplit(".", 1)[-1] for path in (value, saved.get(name)))
            if mine != theirs:
                yield key, mine, theirs
        else:
            yield from differences(value, saved.get(name) if name == "init_args" else look_up(saved, name), below)


def leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values by dotted key, without `init_args`."""
    if isinstance(tree, Mapping) and tree:
        for name, value in tree.items():
            yield from leaves(value, key if name == "init_args" else f"{key}.{name}".lstrip("."))
    else:
        yield key, tree


def drift(first: Tree, second: Tree, named: Sequence[Tree]) -> Iterator[tuple[str, Any, Any]]:
    """Key and both values wherever two saved configs differ in what nobody asked for.

    Such a run was made with an option that this table does not have. What only one of them knows is from another
    version of the code, and left alone.

    Args:
        first: A saved config.
        second: Another, of any arm.
        named: What is asked for of both.
    """
    known = {key for tree in named for key, _ in leaves(tree)} | {*FREE, "seed_everything", "model.strategy"}
    others = dict(leaves(second))
    for key, value in leaves(first):
        parts = key.split(".")
        free = any(".".join(parts[:count]) in known for count in range(1, len(parts) + 1))
        if key in others and not free and not _same(value, others[key]):
            yield key, value, others[key]


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:  # the parser will say so
        return text


def _merge(tree: Tree, added: Mapping[str, Any]) -> Tree:
    if "class_path" in added and added["class_path"] != tree.get("class_path"):
        tree = {name: value for name, value in tree.items() if name != "init_args"}
    for name, value in added.items():
        old = tree.get(name)
        tree[name] = _merge(dict(old), value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return tree


def _put(tree: Tree, parts: Sequence[str], value: Any) -> None:
    """Set the value of a dotted key, in `init_args` where the node is a class."""
    name, *rest = parts
    if name not in tree and "class_path" in tree and name not in ("class_path", "init_args"):
        tree = tree.setdefault("init_args", {})
    old = tree.get(name)
    if isinstance(old, str) and (rest or isinstance(value, Mapping)):
        old = {"class_path": old}
    if rest:
        tree[name] = old if isinstance(old, dict) else {}
        _put(tree[name], rest, value)
    elif isinstance(old, dict):
        added = {"class_path": value} if isinstance(value, str) else value
        tree[name] = _merge(old, added) if isinstance(added, Mapping) else added
    else:
        tree[name] = value


def _same(one: Any, other: Any) -> bool:
    """Equal values, also where a number is written as YAML takes for text (1e-4), or a path in another way."""
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and not any(True for pair in pairs for _ in differences(*pair, key="-"))
    if one == other or isinstance(one, bool) or isinstance(other, bool) or None in (one, other):
        return bool(one == other)
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        pass
    if isinstance(one, str) and isinstance(other, str):
        return os.path.abspath(os.path.expanduser(one)) == os.path.abspath(os.path.expanduser(other))
    return False
