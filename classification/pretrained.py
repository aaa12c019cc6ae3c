"""The values that parameters had before training, and how far the parameters have moved since."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.utils import get_total_norm


class Pretrained:
    """Pretrained values of the parameters of a backbone that learn in some phase.

    Attributes:
        values: Parameter name in the network -> value before training; empty if nothing was pretrained.
    """

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def remember(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Keep the present values of named parameters. Values from a checkpoint stay, and move to the device."""
        for name, parameter in parameters:
            before = self.values.get(name)
            self.values[name] = parameter.detach().clone() if before is None else before.to(parameter.device)

    def squared_distance(self, network: nn.Module) -> Tensor | float:
        """Squared distance `[]` of the parameters that learn now from their pretrained values."""
        learning = ((name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad)
        return sum((p - self.values[name]).square().sum() for name, p in learning if name in self.values)

    def distances(self, network: nn.Module, stages: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """Distance `[]` of every pretrained stage from its pretrained values, relative to the norm of these.

        Args:
            network: Network whose parameters have the names in `values`.
            stages: Parameters of every stage, input to head.
        """
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        distances: dict[str, Tensor] = {}
        for stage, parameters in stages.items():
            known = [(p.detach(), self.values[names[id(p)]]) for p in parameters if names[id(p)] in self.values]
            if known:
                moved = get_total_norm([now - before for now, before in known])
                distances[stage] = moved / get_total_norm([before for _, before in known])
        return distances
