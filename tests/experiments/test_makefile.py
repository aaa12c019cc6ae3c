"""The Makefile, the pages and the configs name each other's commands; each name must exist."""

import re
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path("Makefile").read_text()
PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *Path("docs").glob("*.md")]
TARGETS = {name for line in re.findall(r"^([a-z][a-z0-9 -]*):", MAKEFILE, re.M) for name in line.split()}
TARGETS |= {config.stem.replace("_", "-") for config in Path("configs").glob("*_*.yaml")}


def test_help_lists_every_target():
    shown = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    assert "STUDY-ARM" in shown  # one line for all of them
    assert shown.count("\n") >= 12
    for target in TARGETS - {config.stem.replace("_", "-") for config in Path("configs").glob("*_*.yaml")}:
        assert re.search(rf"\b{target}\b", shown), target


def test_the_pages_name_only_targets_that_exist():
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", text, re.M))
    assert {"setup", "demo", "test", "help"} <= named <= TARGETS


@pytest.mark.parametrize("target", sorted(name for name in TARGETS if name not in ("help", "clean")))
def test_every_target_runs_known_commands(target):
    commands = subprocess.run(["make", "-n", target], capture_output=True, text=True, check=True).stdout
    for config in re.findall(r"configs/\S+\.yaml", commands):
        assert Path(config).is_file()
    for module in re.findall(r"-m (datamodules\S*|experiments\S*|benchmarks\S*)", commands):
        path = Path(module.replace(".", "/"))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_every_config_says_what_it_is_for_and_how_to_run_it():
    for config in Path("configs").rglob("*.yaml"):
        header = [line for line in config.read_text().splitlines() if line.startswith("#")]
        assert len(header) >= 2, config
        assert "Run:" in "".join(header), config
