"""What a command line imports: an answer that needs no torch does not wait for it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli.commands import CLI, import_timm
from experiments.cli.entry import SUBCOMMANDS

ROOT = Path(__file__).parents[3]
SCRIPT = [str(Path(sys.executable).with_name("lightning"))]
MODULE = ["-m", "experiments.cli"]
FULL = ["fit", "--config", "configs/fer_full.yaml", "--trainer.logger", "false"]
SELDOM = {"albumentations", "cv2", "huggingface_hub", "matplotlib", "sklearn", "timm", "torchvision", "wandb"}


def shell(*args):
    """The exit code, what is printed, and all modules imported, in the order in which they were ready."""
    command = [sys.executable, "-X", "importtime", *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    lines = done.stderr.splitlines()
    modules = [line.split("|")[-1].strip() for line in lines if line.startswith("import time:")]
    said = "\n".join(line for line in lines if not line.startswith("import time:"))
    return done.returncode, done.stdout + said, modules


def packages(modules):
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("start", "args", "code"),
    [(SCRIPT, ["--help"], 0), (SCRIPT, ["-h"], 0), (MODULE, ["--help"], 0), (SCRIPT, [], 2)],
)
def test_help_lists_the_subcommands_of_the_parser_and_imports_nothing_heavy(start, args, code):
    ended, said, modules = shell(*start, *args)
    assert ended == code
    assert re.findall(r"^  (\w+)  +\w", said, re.M)[: len(SUBCOMMANDS)] == list(SUBCOMMANDS) == list(CLI.subcommands())
    assert "lightning fit --help" in said
    assert not packages(modules) & {"torch", "lightning", "numpy", "jsonargparse", "rich"}


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["fitt"], "error: argument subcommand: invalid choice: 'fitt' (choose from 'fit', 'validate', 'test', "),
        (["fit", "--config", "configs/fer_ful.yaml"], f"error: no config file {ROOT}/configs/fer_ful.yaml: --config"),
        (["fit", "--config=../nowhere.yaml"], f"error: no config file {ROOT.parent}/nowhere.yaml: --config takes"),
        (["fit", "-c", "{tmp}/wrong.yaml"], "error: {tmp}/wrong.yaml line 2: expected the node content"),
        (
            ["fit", "--config", "{tmp}/image.png"],
            "error: {tmp}/image.png is not a text file: --config takes a YAML file",
        ),
    ],
)
def test_mistakes_that_are_found_before_the_parser_is_imported(args, line, fails, tmp_path, monkeypatch):
    (tmp_path / "wrong.yaml").write_text("seed_everything: 1\ntrainer: [")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "experiments.cli.commands", None)  # to import it would raise
    assert fails(*(arg.format(tmp=tmp_path) for arg in args)).startswith(line.format(tmp=tmp_path))


@pytest.mark.parametrize(
    "args",
    [["--config", "{{trainer: {{max_epoch: 3}}}}"], ["--config", "{tmp}/name: odd.yaml", "--trainer.max_epoch", 3]],
)
def test_yaml_in_place_of_a_file_is_left_to_the_parser(args, fails, tmp_path):
    (tmp_path / "name: odd.yaml").write_text("seed_everything: 1")
    line = fails(*FULL, *(str(arg).format(tmp=tmp_path) for arg in args))
    assert line == "error: unknown key trainer.max_epoch: did you mean trainer.max_epochs?"


def test_no_module_imports_at_its_top_what_only_some_command_lines_need():
    """`datamodules.sample_data` is left out, which no run needs."""
    for package in ("callbacks", "classification", "datamodules", "experiments", "fashion_cnn", "transfer"):
        for path in (ROOT / package).rglob("*.py"):
            if path.parent.name == "sample_data":
                continue
            for node in ast.parse(path.read_text()).body:
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert not packages(modules) & SELDOM, f"{path} line {node.lineno}"


def test_errors_import_no_more_than_they_need(fails, monkeypatch):
    for name in SELDOM - {"timm", "huggingface_hub", "torchvision"}:  # the last two come with the first
        monkeypatch.setitem(sys.modules, name, None)  # to import it would raise
    assert "unknown backbone 'resnet19'" in fails(*FULL, "--model.backbone", "resnet19")
    monkeypatch.setitem(sys.modules, "timm", None)
    assert fails(*FULL, "--model.lrr", 1).endswith("did you mean lr?")


@pytest.mark.slow  # a process that imports everything anew
def test_modules_of_a_whole_process_that_ends_with_an_error_of_the_network():
    code, said, modules = shell(*SCRIPT, *FULL, "--model.backbone", "resnet19")
    assert code == 2
    assert "error: unknown backbone 'resnet19'" in said
    assert not {"albumentations", "cv2", "wandb.sdk"} & set(modules)  # "wandb" is listed also where it was not found
    assert not packages(modules[modules.index("lightning.pytorch") :]) & {"matplotlib", "sklearn"}
    assert modules.index("experiments.cli.commands") < modules.index("timm")


def test_timm_is_imported_as_if_wandb_were_not_installed(tmp_path, monkeypatch):
    (tmp_path / "timm.py").write_text("try:\n    import wandb\nexcept ImportError:\n    wandb = 'absent'")
    (tmp_path / "wandb.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("timm", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # to have the real ones back afterwards
        del sys.modules[name]
    import_timm()
    assert sys.modules["timm"].wandb == "absent"
    import wandb

    assert wandb.__file__ == str(tmp_path / "wandb.py")
