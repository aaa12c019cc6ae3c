"""Mistakes on the command line: one line that says what to do, exit code 2."""

import sys

import pytest

FER = [
    "fit",
    "--config",
    "configs/fer_full.yaml",
    "--trainer.logger",
    "false",
    "--run.root",
    "nowhere",
    "--model.weights",
    "none",
]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--model.lrr", "1"], "error: model.lrr is not an argument of TransferClassifier: did you mean lr?"),
        (
            ["--model.strategy.lr_facto", "1"],
            "error: model.strategy.lr_facto is not an argument of Full: did you mean lr_factor?",
        ),
        (["--trainer.max_epoch", "1"], "error: unknown key trainer.max_epoch: did you mean trainer.max_epochs?"),
        (
            ["--model.strategy", "transfer.Ful"],
            "error: model.strategy: no class transfer.Ful: did you mean transfer.Full?",
        ),
        (["--data", "FER2014"], "error: data: no class FER2014: did you mean datamodules.FER2013?"),
        (["--model", "datamodules.FER2013"], "error: model: datamodules.FER2013 is not a class for this key"),
        (["--model.lr", "abc"], "error: model.lr: Expected a float. Got value: abc"),
        (["--model.backbone", "resnet19"], "error: unknown backbone 'resnet19': did you mean resnet18"),
        (["--data.root", "nowhere"], "error: no fer2013.csv in nowhere/fer2013: download it from kaggle.com"),
        (["--ckpt_path", "nowhere.ckpt"], "error: no checkpoint nowhere.ckpt"),
        (
            ["--ckpt_path", "last", "--run.root", "nowhere"],
            "error: no checkpoint nowhere/fer/full/seed0/checkpoints/last.ckpt",
        ),
    ],
)
def test_a_wrong_value(fails, args, line):
    assert fails(*FER, *args).startswith(line)


def test_a_strategy_that_does_not_fit_the_network(fails):
    line = fails(
        "fit",
        "--config",
        "configs/fer_partial.yaml",
        "--model.strategy.stages",
        "[layer9]",
        "--trainer.logger",
        "false",
    )
    assert line == "error: Partial: no stage 'layer9'; the stages are stem, layer1, layer2, layer3, layer4, head"


@pytest.mark.parametrize("command", ["plan", "fit"])
def test_a_plan_that_does_not_fit_the_budget(command, fails, tmp_path):
    root = ["--run.root", tmp_path] if command == "fit" else []
    line = fails(command, "--config", "configs/fer_gradual.yaml", "--trainer.max_epochs", 3, *root)
    assert line == (
        "error: 5 phases need at least 5 epochs, and trainer.max_epochs is 3: raise it, or choose fewer phases"
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ("[{learn: {neck: 1.0}}]", "Explicit: no stage 'neck'; the stages are stem, layer1"),
        ("[{learn: {head: 0}, until: 1}, {learn: [head]}]", "Explicit, phase 1 of 2: nothing learns"),
        ("[{learn: [head], until: 4}, {learn: [head], until: 4}, {learn: [head]}]", "phase 2 of 3 would last from"),
        ("[{learn: [head], untl: 4}]", "untl"),
    ],
)
def test_explicit_phases_that_do_not_fit(phases, message, fails, tmp_path):
    path = tmp_path / "phases.yaml"
    path.write_text(
        f"model: {{init_args: {{strategy: {{class_path: transfer.Explicit, init_args: {{phases: {phases}}}}}}}}}"
    )
    assert message in fails("plan", "--config", "configs/fer_full.yaml", "--config", path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: {init_args: {lrr: 3}}", "error: model.lrr is not an argument of TransferClassifier: did you mean lr?"),
        ("trainer: {max_epoch: 3}", "error: unknown key trainer.max_epoch: did you mean trainer.max_epochs?"),
        ("trainer: [", "line 1: expected the node content"),
    ],
)
def test_a_wrong_config_file(fails, tmp_path, text, line):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert line in fails(*FER, "--config", path)


def test_no_config_file(fails):
    assert "no config file" in fails("fit", "--config", "configs/fer_ful.yaml")
    assert "name a config" in fails("fit")
    assert "invalid choice: 'fitt'" in fails("fitt")


def test_missing_weights(fails, tiny_transfer, tmp_path):
    line = fails("fit", "--config", "configs/fer_full.yaml", *tiny_transfer, "--model.weights", "nowhere.pt")
    assert line == "error: no weights file nowhere.pt: pass --model.weights FILE, hub or none"
    assert not list((tmp_path / "runs").rglob("*.*")), "a run that never started leaves nothing behind"


def test_a_test_without_a_checkpoint(fails, tiny):
    assert "test needs --ckpt_path" in fails("test", "--config", "configs/fashion_plain.yaml", *tiny)


def test_a_second_run_never_overwrites_the_first_silently(fails, lightning, tiny, tmp_path):
    fit = ["fit", "--config", "configs/fashion_plain.yaml", *tiny]
    lightning(*fit)
    config = tmp_path / "runs/fashion/plain/seed0/config.yaml"
    first = config.stat().st_mtime_ns
    line = fails(*fit)
    assert "already holds a run: continue it with --ckpt_path" in line
    assert "--run.overwrite true" in line
    assert config.stat().st_mtime_ns == first
    lightning(*fit, "--run.overwrite", "true")
    assert config.stat().st_mtime_ns > first


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def phase(self, stages): return []", "Own has no phases: define `phases(self, stages)`"),
        (
            "def phases(self, stages): return Phase(['head'])",
            "Own gives one Phase: return a list",
        ),
        ("import nonexistent_module", "own.Own cannot be imported: there is no module nonexistent_module"),
    ],
)
def test_mistakes_in_a_strategy_of_the_readers_own(code, line, fails, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(f"from transfer import Phase, Strategy\nclass Own(Strategy):\n    {code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    assert line in fails("plan", "--config", "configs/fer_full.yaml", "--model.strategy", "own.Own")
