"""Optimizer groups and inputs of a classifier."""

import pytest
import torch

from basics.errors import UserError
from fashion_cnn import FashionClassifier


def test_every_parameter_is_in_one_group_and_only_matrices_are_decayed():
    model = FashionClassifier(list("abc"), width=4, batch_norm=True, weight_decay=0.1)
    groups = list(model.parameter_groups())
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in model.network.parameters())
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])
    assert [g["name"] for g in groups[:2]] == ["conv1", "conv1.no_decay"]


def test_a_parameter_without_a_stage_is_named():
    model = FashionClassifier(list("abc"), width=4)
    model.network.extra = torch.nn.Linear(2, 2)
    model.stages = lambda: {"conv1": list(model.network.conv1.parameters())}
    with pytest.raises(UserError, match=r"conv2\.0\.weight is in 0 stages"):
        list(model.parameter_groups())


def test_grey_bytes_and_floats_give_the_same_logits():
    model = FashionClassifier(list("abc"), width=4).eval()
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(model(images), model(images.float() / 255))
