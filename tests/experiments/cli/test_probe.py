"""`lightning probe`: a line for every stage, from one pass that is kept."""

import re

from datamodules import FER2013


def rows(shown):
    return re.findall(r"│ (most frequent class|\w+) +│ +(\d*) │ +([\d.]+) │ +([\d.]+) │", shown)


def test_every_stage_is_scored_from_one_pass(lightning, tiny_transfer, capsys, monkeypatch):
    lightning("probe", "--config", "configs/fer_frozen.yaml", *tiny_transfer)
    first = rows(capsys.readouterr().out)
    assert [row[0] for row in first] == ["most frequent class", "stem", "layer1", "layer2", "layer3", "layer4"]
    assert all(0 <= float(score) <= 1 for row in first for score in row[2:])
    monkeypatch.setattr(FER2013, "whole_split", None)  # computing again would fail
    lightning("probe", "--config", "configs/fer_frozen.yaml", *tiny_transfer)
    assert rows(capsys.readouterr().out) == first


def test_a_network_from_scratch_has_nothing_to_probe(fails, tiny):
    line = fails("probe", "--config", "configs/fashion_plain.yaml", *tiny)
    assert "probe is for a pretrained network" in line
