from pathlib import Path

import pytest

from experiments.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lightning(monkeypatch):
    """The command line, as typed in the project's root."""
    monkeypatch.chdir(ROOT)

    def run(*args):
        main([str(arg) for arg in args])

    return run


@pytest.fixture
def fails(lightning, capsys):
    """A command line that must stop with exit code 2 and one line, which is returned."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            lightning(*args)
        assert stopped.value.code == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line or "Traceback" in line]
        assert len(errors) == 1
        return errors[0]

    return run


@pytest.fixture
def tiny(sample_root, tmp_path):
    """Arguments that make any config of a transfer arm a matter of seconds."""
    return [
        *("--run.root", tmp_path / "runs", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"),
        *("--data.root", sample_root, "--data.batch_size", 16, "--data.num_workers", 0),
        *("--trainer.max_epochs", 1, "--trainer.accelerator", "cpu"),
    ]


@pytest.fixture
def tiny_transfer(tiny):
    return [*tiny, "--model.backbone", "test_resnet", "--model.weights", "none", "--data.image_size", 32]
