"""The one grouping of a network that freezing, learning rates and costs refer to."""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Stage:
    """A named part of a network.

    Attributes:
        name: As strategies, logs and tables call it: stem, layer1, ..., head.
        modules: The largest modules that belong to this stage alone; what has a mode or a buffer is in them.
        parameters: All parameters of the stage, those of the network itself (a vision transformer's) included.
    """

    name: str
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]

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
        # What shares a group with the classifier, such as a last normalisation, was pretrained: it is the last block's.
        if number > 0 and len(body) == len(names):
            title = _block_name(names[0])
        stage_of |= dict.fromkeys(body, title)
    stage_of |= {name: "head" for name, _ in network.named_parameters() if name.startswith(head)}

    parameters = dict(network.named_parameters())
    modules: dict[str, list[nn.Module]] = {title: [] for title in stage_of.values()}
    _assign(network, "", stage_of, modules)
    return {
        title: Stage(title, tuple(parts), tuple(parameters[name] for name in parameters if stage_of[name] == title))
        for title, parts in modules.items()
    }


def head_prefixes(network: nn.Module) -> tuple[str, ...]:
    """How the names of the classifier's parameters begin: `("fc.",)` in a ResNet."""
    config: Any = network.default_cfg
    names = config["classifier"]
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _block_name(parameter: str) -> str:
    """`layer3` for layer3.0.conv1.weight, `stages.2` for stages.2.blocks.0.gamma."""
    parts = parameter.split(".")
    return parts[0] if parts[0][-1].isdigit() else ".".join(parts[:2])


def _assign(module: nn.Module, path: str, stage_of: dict[str, str], modules: dict[str, list[nn.Module]]) -> None:
    """Give a module to the stage that owns all of its parameters, or else look at its children."""
    owners = {stage_of[f"{path}{name}"] for name, _ in module.named_parameters()}
    if len(owners) == 1 and path:
        modules[owners.pop()].append(module)
        return
    for name, child in module.named_children():
        _assign(child, f"{path}{name}.", stage_of, modules)
