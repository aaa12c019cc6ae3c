"""Imports run downwards and in no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
# A package may import those on floors below its own; in experiments, the rooms of one program and what all of them use.
FLOORS = [
    ["basics"],
    ["datamodules", "classification"],
    ["callbacks"],
    ["fashion_cnn", "transfer"],
    ["experiments"],
    ["benchmarks"],
]
ROOMS = [["configs", "numbers", "runs", "studies"], ["results", "tracking"], ["cli", "report"], ["table"], ["demo"]]


def modules():
    """Every module of the project by its dotted name."""
    packages = [name for floor in FLOORS for name in floor]
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(path, known):
    """Names of the project's modules that a file imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in whole)


def graph():
    known = modules()
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def rank(name, floors, part):
    parts = name.split(".")
    return next((i for i, floor in enumerate(floors) if len(parts) > part and parts[part] in floor), len(floors))


def test_every_import_goes_to_a_lower_floor():
    for name, targets in graph().items():
        for target in targets:
            floors, part = (ROOMS, 1) if {name.split(".")[0], target.split(".")[0]} == {"experiments"} else (FLOORS, 0)
            same = name.split(".")[: part + 1] == target.split(".")[: part + 1]
            assert same or rank(target, floors, part) < rank(name, floors, part), f"{name} imports {target}"


def test_no_circle():
    TopologicalSorter(graph()).prepare()  # raises CycleError with the names


def test_an_import_inside_a_function_counts(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("def function():\n    from experiments.cli import commands\n    import basics.files\n")
    known = {"experiments.cli.commands": path, "experiments.cli": path, "basics.files": path}
    assert set(imported(path, known)) == {"experiments.cli.commands", "basics.files"}
