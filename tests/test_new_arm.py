"""A shipped arm is four files: transfer/strategies.py, transfer/__init__.py and a config for each transfer study."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.studies import STUDIES, in_order

ROOT = Path(__file__).parents[1]
PACKAGES = ["basics", "callbacks", "classification", "datamodules", "experiments", "fashion_cnn", "transfer", "configs"]
STRATEGY = '''

class TopTwo(Strategy):
    """The last two stages learn with the head."""

    def phases(self, stages: Sequence[str]) -> list[Phase]:
        """Give one phase."""
        return [_phase(stages[-3:-1], 0.1)]
'''


@pytest.fixture
def house(tmp_path):
    """A copy of the project in which these four files were changed."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.complete").touch()
    strategies = tmp_path / "transfer/strategies.py"
    strategies.write_text(strategies.read_text() + STRATEGY)
    face = tmp_path / "transfer/__init__.py"
    text = face.read_text().replace("    Surgical,\n", "    Surgical,\n    TopTwo,\n")
    face.write_text(text.replace('    "TransferClassifier",\n', '    "TopTwo",\n    "TransferClassifier",\n'))
    for study in ("fer", "deepweeds"):
        config = (tmp_path / f"configs/{study}_full.yaml").read_text()
        own = re.sub(r"strategy: .*", "strategy: {class_path: transfer.TopTwo}", config)
        (tmp_path / f"configs/{study}_toptwo.yaml").write_text(own)
    return tmp_path


@pytest.mark.slow  # a copy of the project, whose modules are compiled anew
def test_the_arm_is_in_the_table_and_has_a_target(house):
    def run(*command):
        env = os.environ | {"PYTHONPATH": str(house)}
        done = subprocess.run(command, cwd=house, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ["--study", "fer", "--strategies", "toptwo", "--seeds", "0", "--plan"]
    assert "fer/toptwo/seed0" in run(sys.executable, "-m", "experiments.table", *options)
    arms = run(sys.executable, "-c", "from experiments.studies import STUDIES; print(*STUDIES['fer'].arms)")
    assert arms.split() == in_order([*STUDIES["fer"].arms, "toptwo"])
    assert "configs/deepweeds_toptwo.yaml" in run("make", "-n", "deepweeds-toptwo")
