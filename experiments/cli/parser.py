"""The parser: Lightning's, with the mistakes of the user in one readable line."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from basics.errors import stop
from experiments.cli.arguments import no_config

CATALOGUES = ("transfer", "fashion_cnn", "datamodules")


class Parser(LightningArgumentParser):
    """Lightning's parser with errors of one line instead of 60 lines of usage and Python types."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)  # or --trainer.max_epoch would be taken for max_epochs

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one line what is wrong and what to do; the parsers of nested classes tell theirs to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        stop(explain(message, known_keys=self._known_keys()))

    def _known_keys(self) -> list[str]:
        """Of the subcommands: trainer.max_epochs, run.root, ..."""
        parsers = [self, *getattr(self._subcommands_action, "_name_parser_map", {}).values()]
        keys = {action.dest for parser in parsers for action in parser._actions}
        return sorted(key for key in keys if key not in ("help", "subcommand") and not key.startswith("__"))


def explain(message: str, known_keys: Iterable[str] = ()) -> str:
    """One line for a message of jsonargparse, with the nearest valid name where a name is wrong."""
    inner = ".".join(re.findall(r'Parser key "([^"]+)"', message))  # of nested keys: model.strategy
    if option := _first(r"Option '([^']+)' is not accepted", message):
        owner = _last(r"Problem with given class_path '([^']+)'", message)
        return f"{inner}.{option} is not an argument of {_short(owner)}{_did_you_mean(option, _arguments(owner))}"
    if option := _first(r"(?:does not accept option|[Uu]nrecognized arguments:) '?-*([\w.+]+)", message):
        return f"unknown key {option}{_did_you_mean(option, known_keys)}"
    if missing := _first(r"arguments are required: (.+)", message):
        return f"{missing} is missing: name a config, for example --config configs/fer_full.yaml"
    if path := _first(r"File does not exist: '?([^'\n]+)'?", message):
        return no_config(path)
    wrong = _last(r"Expected a dot import path string: (\S+)", message) or _last(
        r"(?:Import of|Unable to import|class_path) '?([\w.]+)'?:? ?(?:failed|is not|not a)", message
    )
    import_error = r"No module named|has no attribute|cannot import|not a subclass|does not correspond"
    if not wrong and re.search(import_error, message):
        wrong = _last(r"Problem with given class_path '([^']+)'", message) or _last(r"Given value: (\S+)", message)
    if wrong in _classes():
        return f"{inner}: {wrong} is not a class for this key"
    missing = _last(r"No module named '([\w.]+)'", message)
    if wrong and missing and not wrong.startswith(missing):
        return f"{inner}: {wrong} cannot be imported: there is no module {missing}"
    if wrong:
        return f"{inner}: no class {wrong}{_did_you_mean(wrong, _classes())}"
    if type_error := _last(r"(Expected an? <class '(?!NoneType).+)", message):
        return f"{inner}: {_squeeze(type_error)}"
    return _squeeze(message)


def _squeeze(message: str) -> str:
    """The lines that say something, joined."""
    noise = r"Does not validate|Subtypes:|Errors:|<class 'NoneType'>|Given value type|NestedArg|Given value:"
    lines = [line.strip().lstrip("- ") for line in message.splitlines()]
    kept = [line for line in lines if line and not re.search(noise, line)]
    value = _first(r"Given value: (?!NestedArg)(.+)", message)
    given = f" (given: {value})" if value and len(value) < 60 and value not in " ".join(kept) else ""
    line = " ".join(kept) + given
    line = re.sub(r"<class '([^']+)'>", r"\1", line)
    return re.sub(r'Parser key "([^"]+)":?', r"\1:", line)


def _classes() -> list[str]:
    """The classes that a config may name."""
    found = []
    for package in CATALOGUES:
        module = importlib.import_module(package)
        found += [f"{package}.{name}" for name in module.__all__ if inspect.isclass(getattr(module, name))]
    return found


def _arguments(class_path: str | None) -> list[str]:
    """All arguments of a class, those of its bases included."""
    if not class_path or "." not in class_path:
        return []
    module, name = class_path.rsplit(".", 1)
    kind = getattr(importlib.import_module(module), name, None)
    bases = inspect.getmro(kind) if inspect.isclass(kind) else ()
    names = {name for base in bases if base is not object for name in inspect.signature(base).parameters}
    return sorted(names - {"self", "args", "kwargs"})


def _did_you_mean(wrong: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if not near:  # a short name, or one that lacks its package
        last = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [last[name] for name in difflib.get_close_matches(wrong.rsplit(".", 1)[-1], last, n=1, cutoff=0.6)]
    return f": did you mean {near[0]}?" if near else "; valid are " + ", ".join(known) if 0 < len(known) < 30 else ""


def _short(class_path: str | None) -> str:
    return (class_path or "this class").rsplit(".", 1)[-1]


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None


def _last(pattern: str, text: str) -> str | None:
    found = re.findall(pattern, text)
    return found[-1] if found else None
