"""A study's arms are found from its configs."""

from pathlib import Path

from experiments import studies
from experiments.studies import STUDIES, study_of


def test_the_shipped_studies_and_their_arms_in_order():
    """A further arm follows by name."""
    transfer = ["frozen", "partial", "full", "gradual", "lpft", "layerdecay"]
    assert list(STUDIES) == ["fashion", "deepweeds", "fer"]
    assert STUDIES["fashion"].arms[:1] == ["plain"]
    assert STUDIES["fer"].arms[:6] == transfer
    assert STUDIES["deepweeds"].arms == STUDIES["fer"].arms


def test_an_arm_that_has_a_config_is_there_and_follows_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "CONFIGS", tmp_path)
    for arm in ("zeta", "full", "alpha", "frozen"):
        (tmp_path / f"fer_{arm}.yaml").touch()
    assert STUDIES["fer"].arms == ["frozen", "full", "alpha", "zeta"]
    assert STUDIES["fer"].config("zeta") == tmp_path / "fer_zeta.yaml"


def test_every_config_is_one_of_a_study():
    configs = {study.config(arm) for study in STUDIES.values() for arm in study.arms}
    assert configs == set(Path("configs").glob("*.yaml"))


def test_a_study_of_the_readers_own_needs_only_configs(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "CONFIGS", tmp_path)
    (tmp_path / "birds_full.yaml").touch()
    assert study_of("birds").arms == ["full"]
    assert study_of("birds").seeds == (0, 1, 2)
