"""The one grouping of a network that freezing, learning rates and costs refer to."""

import os
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Stage:
    """A named part of a network.

    Attributes:
        name: As strategies, logs and tables call it: stem, layer1, ..., head.
        modules: The largest modules that belong to this stage alone; together they hold its parameters and buffers.
        parameters: All parameters of the stage.
    """

    name: str
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters)

    def learn(self, learns: bool) -> None:
        """Let the stage learn, or freeze it: no gradient, and evaluation mode.

        Evaluation mode is what makes batch norm of a frozen stage use its stored statistics and leave them alone;
        without it they drift, and training and evaluation see two different networks.
        """
        for parameter in self.parameters:
            parameter.requires_grad_(learns)
        for module in self.modules:
            module.train(learns)


def split_into_stages(network: nn.Module) -> dict[str, Stage]:
    """Split a timm network into stages, input to head, by the grouping that the network itself declares.

    Every parameter is in exactly one stage. The classifier is `head`, what comes before the first numbered block is
    `stem`, and a numbered block has timm's own name for it (`layer4` in ResNets, `stages.3` in ConvNeXt, ...).

    Args:
        network: A model of timm that has `group_matcher` and `get_classifier`.
    """
    from timm.models._manipulate import group_with_matcher

    groups = group_with_matcher(network.named_parameters(), network.group_matcher(coarse=True), return_values=False)
    head = {f"{name}.{rest}" for name in _classifier_names(network) for rest, _ in network.get_submodule(name).named_parameters()}
    stage_of: dict[str, str] = {}
    title = "stem"
    for number, names in enumerate(groups.values()):
        if number > 0 and not head & set(names):
            title = _block_name(names)
        # What shares a group with the classifier, such as a last normalisation, was pretrained: it is the last block's.
        stage_of |= dict.fromkeys([name for name in names if name not in head], title)
    stage_of |= dict.fromkeys(sorted(head), "head")

    parameters = dict(network.named_parameters())
    modules: dict[str, list[nn.Module]] = {title: [] for title in dict.fromkeys(stage_of.values())}
    _assign(network, "", stage_of, modules)
    return {
        title: Stage(title, tuple(parts), tuple(parameters[name] for name in parameters if stage_of[name] == title))
        for title, parts in modules.items()
    }


def _classifier_names(network: nn.Module) -> list[str]:
    names = network.default_cfg["classifier"]
    return [names] if isinstance(names, str) else list(names)


def _block_name(names: list[str]) -> str:
    """`layer3` for layer3.0.conv1.weight, ...: as much of the path as its members share."""
    shared = os.path.commonprefix([name.split(".") for name in names])
    if shared:
        return ".".join(shared[:2] if len(shared) > 1 and shared[1].isdigit() and not shared[0][-1].isdigit() else shared[:1])
    # A block that carries a last normalisation along, as `blocks.11` and `norm` in a vision transformer.
    return ".".join(names[0].split(".")[:2])


def _assign(module: nn.Module, path: str, stage_of: dict[str, str], modules: dict[str, list[nn.Module]]) -> None:
    """Give a module to the stage that owns all of its parameters, or else look at its children."""
    owners = {stage_of[f"{path}{name}"] for name, _ in module.named_parameters()}
    if len(owners) == 1 and path:
        modules[owners.pop()].append(module)
        return
    for name, child in module.named_children():
        _assign(child, f"{path}{name}.", stage_of, modules)
