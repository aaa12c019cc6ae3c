"""Values of a command line of `fit` without the real parser, which takes seconds; for simple options only."""

from itertools import pairwise
from pathlib import Path

import yaml


def plain_config(args):
    """Merge the configs and options of a command line; later ones win."""
    config = {"trainer": {"max_steps": -1}, "data": {"init_args": {"split_seed": 0}}}
    pairs = [arg.split("=", 1) if "=" in arg and arg.startswith("--") else [arg] for arg in map(str, args)]
    words = [word for pair in pairs for word in pair]
    for option, value in pairwise(words):
        if option == "--config":
            path = Path(value)
            config = merge(config, load(path) if path.is_file() else yaml.safe_load(value))
        elif option.startswith("--"):
            put(config, option[2:].split("."), yaml.safe_load(value))
    return config


def load(path):
    config = yaml.safe_load(path.read_text())
    if isinstance(config.get("data"), str):
        config["data"] = yaml.safe_load((path.parent / config["data"]).read_text())
    return config


def merge(old, new):
    both = {name: merge(old[name], new[name]) for name in old.keys() & new.keys() if isinstance(new[name], dict)}
    return {**old, **new, **both}


def put(config, parts, value):
    name, *rest = parts
    if "init_args" in config and name != "init_args":
        put(config["init_args"], parts, value)
    elif rest:
        put(config.setdefault(name, {}), rest, value)
    else:
        config[name] = float(value) if name == "lr" else value
