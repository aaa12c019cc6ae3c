"""Linear classifiers on the features after every stage of a pretrained network show where transfer stops helping."""

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import torch
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from basics.errors import UserError
from classification.metrics import confusion_matrix, scores
from datamodules import ImageDataModule
from transfer.classifier import TransferClassifier
from transfer.features import GB, FeatureFiles
from transfer.prefix import digest, features_after_stages, split_prefix


@dataclass(frozen=True)
class Depth:
    """Validation scores of a linear classifier on the pooled features after one stage."""

    stage: str
    features: int
    accuracy: float
    f1_macro: float


def probe_stages(trainer: L.Trainer, module: TransferClassifier, data: ImageDataModule) -> list[Depth]:
    """Fit a linear classifier on the pooled features of every stage, all from one pass over the images.

    Images are not augmented, and the features of all stages are kept in the same files as those of frozen stages. The
    classifiers are logistic regressions on standardised features, with scikit-learn's default penalty (C = 1).

    Args:
        trainer: Trainer that says on which device and with which precision.
        module: Classifier with its weights.
        data: Data module that is set up. The classifiers learn from its train split and are scored on its val split;
            the test split is left for the end of a study.

    Returns:
        The depths, input to head, after the score of always naming the most frequent class.

    Raises:
        UserError: The network cannot be split, or there are several processes.
    """
    stages = list(module.network_stages.values())
    network = module.network.eval()
    outputs = features_after_stages(network, stages)
    everything = split_prefix(network, stages, [stages[-1].name])
    if outputs is None or everything is None:
        raise UserError(f"{module.backbone} cannot be probed: torch.fx cannot record its computation")
    if trainer.world_size > 1:
        raise UserError("probe runs in one process: pass --trainer.devices 1")
    device = trainer.strategy.root_device
    module.to(device)
    outputs.to(device)
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"

    def pooled(images: Tensor) -> list[Tensor]:
        return [_pool(values, channels_last).float() for values in outputs(module.inputs(images))]

    with torch.no_grad():
        example = pooled(torch.zeros(2, *data.image_shape, device=device))
    made_by = ("probe", digest(network, everything), *module.normalization)
    parts = [("train", None), ("val", None)]
    files = FeatureFiles(trainer, data, int(module.cache_gb * GB))
    features = files.get(parts, lambda images: torch.cat(pooled(images), 1), torch.cat(example, 1), made_by)
    train, val = (features[part].values.to(device) for part in parts)
    labels, targets = (torch.from_numpy(data.splits[name].labels).to(device) for name, _ in parts)
    count = len(module.class_names)
    depths = [_depth("most frequent class", torch.zeros(len(val), 0), labels.bincount(minlength=count), targets)]
    widths = [values.shape[1] for values in example]
    for stage, own, other in zip(stages, torch.split(train, widths, 1), torch.split(val, widths, 1), strict=False):
        mean = own.mean(0)
        std = own.std(0).clamp(min=1e-6)
        weight, bias = fit_linear((own - mean) / std, labels, count)
        depths.append(_depth(stage.name, (other - mean) / std, bias, targets, weight))
    return depths


def fit_linear(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression, by L-BFGS.

    Args:
        features: Standardised features `[N, F]`.
        labels: True classes `[N]`.
        num_classes: Number of classes C.

    Returns:
        Weight `[C, F]` and bias `[C]` that minimise the summed cross-entropy and half the squared norm of the weight.
    """
    like: Any = {"dtype": features.dtype, "device": features.device, "requires_grad": True}
    weight = torch.zeros(num_classes, features.shape[1], **like)
    bias = torch.zeros(num_classes, **like)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(functional.linear(features, weight, bias), labels)
        loss = loss + weight.square().sum() / (2 * len(features))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def probe_table(depths: list[Depth], backbone: str) -> Table:
    """The scores as a table, a row a depth, the best in bold."""
    table = Table("after", title=f"linear probes of {backbone}, scored on val", title_justify="left")
    for column in ("features", "accuracy", "macro-F1"):
        table.add_column(column, justify="right")
    best = max(depth.f1_macro for depth in depths)
    for depth in depths:
        score = f"{depth.f1_macro:.3f}"
        shown = f"[bold]{score}[/bold]" if depth.f1_macro == best else score
        table.add_row(depth.stage, f"{depth.features or ''}", f"{depth.accuracy:.3f}", shown)
    return table


def _pool(values: Tensor, channels_last: bool) -> Tensor:
    """Mean over positions or tokens: `[B, F]`."""
    if values.ndim == 4:
        return values.mean((1, 2)) if channels_last else values.mean((2, 3))
    return values.mean(1) if values.ndim == 3 else values


def _depth(stage: str, features: Tensor, bias: Tensor, labels: Tensor, weight: Tensor | None = None) -> Depth:
    """Score a linear classifier; without a weight it is its bias alone."""
    logits: Any = bias.expand(len(labels), -1) if weight is None else functional.linear(features, weight, bias)
    result = scores(torch.zeros(()), confusion_matrix(labels, logits.argmax(1), len(bias)))
    return Depth(stage, features.shape[1], result.accuracy, result.f1_macro)
