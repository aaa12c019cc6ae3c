"""The one grouping of a network that freezing, learning rates and costs refer to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Stage:
    """A named part of a network.

    Attributes:
        name: Name in strategies, logs and tables: stem, layer1, ..., head.
        network: Network that the stage is a part of.
        paths: Names of the largest modules that belong to this stage alone; all its modes and buffers are in them.
        parameters: All parameters of the stage, including those that no module but the network itself holds, such as
            the position embedding of a vision transformer.
    """

    name: str
    network: nn.Module = field(repr=False)
    paths: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...] = field(repr=False)

    @property
    def modules(self) -> list[nn.Module]:
        """The modules at its paths now: `--trainer.sync_batchnorm` replaces modules after the network is made."""
        return [self.network.get_submodule(path) for path in self.paths]

    def batch_norms(self) -> list[nn.Module]:
        """Its batch norm layers."""
        return [layer for module in self.modules for layer in module.modules() if isinstance(layer, _BatchNorm)]


def split_into_stages(network: nn.Module) -> dict[str, Stage]:
    """Split a timm network into stages, input to head, by the grouping that the network itself declares.

    Every parameter is in exactly one stage. The classifier is `head`, what comes before the first numbered block is
    `stem`, and a numbered block has timm's own name for it (`layer4` in ResNets, `stages.3` in ConvNeXt, ...).

    Args:
        network: A model of timm; it has `group_matcher`.
    """
    from timm.models._manipulate import group_with_matcher

    model: Any = network
    groups = group_with_matcher(network.named_parameters(), model.group_matcher(coarse=True), return_values=False)
    head = head_prefixes(network)
    stage_of: dict[str, str] = {}
    title = "stem"
    for number, names in enumerate(groups.values()):
        body = [name for name in names if not name.startswith(head)]
        # A last normalisation shares a group with the classifier. It was pretrained, so it belongs to the last block.
        if number > 0 and len(body) == len(names):
            title = _block_name(names[0])
        stage_of |= dict.fromkeys(body, title)
    stage_of |= {name: "head" for name, _ in network.named_parameters() if name.startswith(head)}

    parameters = dict(network.named_parameters())
    paths: dict[str, list[str]] = {title: [] for title in stage_of.values()}
    _assign(network, "", stage_of, paths)
    return {
        title: Stage(title, network, tuple(own), tuple(p for name, p in parameters.items() if stage_of[name] == title))
        for title, own in paths.items()
    }


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; afterwards give every module its own mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with torch.no_grad():
        yield
    for module, mode in modes.items():
        module.training = mode


def head_prefixes(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of the classifier's parameters: `("fc.",)` in a ResNet."""
    config: Any = network.default_cfg
    names = config["classifier"]
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _block_name(parameter: str) -> str:
    """`layer3` for layer3.0.conv1.weight, `stages.2` for stages.2.blocks.0.gamma."""
    parts = parameter.split(".")
    return parts[0] if parts[0][-1].isdigit() else ".".join(parts[:2])


def _assign(module: nn.Module, path: str, stage_of: dict[str, str], paths: dict[str, list[str]]) -> None:
    """Give a module to the stage that owns all of its parameters, or else look at its children."""
    owners = {stage_of[f"{path}{name}"] for name, _ in module.named_parameters()}
    if len(owners) == 1 and path:
        paths[owners.pop()].append(path.removesuffix("."))
        return
    for name, child in module.named_children():
        _assign(child, f"{path}{name}.", stage_of, paths)
