"""Where transfer stops helping: a linear classifier on the features after every stage of the pretrained network."""

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as L
import torch
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from basics.errors import UserError
from classification.metrics import scores
from datamodules import ImageDataModule
from transfer.classifier import TransferClassifier
from transfer.features import GB, FeatureFiles
from transfer.prefix import digest, split_prefix, stage_outputs


@dataclass(frozen=True)
class Depth:
    """Validation scores of a linear classifier on the pooled features after one stage."""

    stage: str
    features: int
    accuracy: float
    f1_macro: float


def probe_stages(trainer: L.Trainer, module: TransferClassifier, data: ImageDataModule) -> list[Depth]:
    """Fit a linear classifier on the pooled features of every stage, all from one pass over the images.

    Images are not augmented, and the features of all stages are kept like those that frozen stages are trained on.
    The classifiers are logistic regressions on standardised features, with the penalty that scikit-learn has by
    default (C = 1).

    Args:
        trainer: Says on which device and with which precision.
        module: With its weights.
        data: Set up. Its train split is learnt from and its val split scored; test is left for the end of a study.

    Returns:
        The depths, input to head, after the score of always naming the most frequent class.

    Raises:
        UserError: The network cannot be split, or there are several processes.
    """
    stages, network = list(module.network_stages.values()), module.network.eval()
    outputs = stage_outputs(network, stages)
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
        mean, std = own.mean(0), own.std(0).clamp(min=1e-6)
        weight, bias = fit_linear((own - mean) / std, labels, count)
        depths.append(_depth(stage.name, (other - mean) / std, bias, targets, weight))
    return depths


def fit_linear(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression, by L-BFGS.

    Args:
        features: `[N, F]`, standardised.
        labels: `[N]`.
        num_classes: C.

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
    """The depths, input to head."""
    table = Table("after", title=f"linear probes of {backbone}, scored on val", title_justify="left")
    for column in ("features", "accuracy", "macro-F1"):
        table.add_column(column, justify="right")
    best = max(depth.f1_macro for depth in depths)
    for depth in depths:
        score = f"{depth.f1_macro:.3f}"
        table.add_row(
            depth.stage,
            f"{depth.features or ''}",
            f"{depth.accuracy:.3f}",
            f"[bold]{score}[/bold]" if depth.f1_macro == best else score,
        )
    return table


def _pool(values: Tensor, channels_last: bool) -> Tensor:
    """Mean over positions or tokens: `[B, F]`."""
    if values.ndim == 4:
        return values.mean((1, 2)) if channels_last else values.mean((2, 3))
    return values.mean(1) if values.ndim == 3 else values


def _depth(stage: str, features: Tensor, bias: Tensor, labels: Tensor, weight: Tensor | None = None) -> Depth:
    logits: Any = bias.expand(len(labels), -1) if weight is None else functional.linear(features, weight, bias)
    count = len(bias)
    matrix = torch.bincount(labels * count + logits.argmax(1), minlength=count * count).view(count, count)
    result = scores(torch.zeros(()), matrix)
    return Depth(stage, features.shape[1], result.accuracy, result.f1_macro)
