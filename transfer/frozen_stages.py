"""The stages that do not learn in a phase, and what their batch norm does."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from classification.phases import BatchNorm
from transfer.stages import Stage


@dataclass(frozen=True)
class FrozenStages:
    """The frozen stages of one phase.

    Attributes:
        stages: Stages that do not learn, input to head.
        policy: Policy for their batch norm, as in `Phase.batch_norm`.
    """

    stages: tuple[Stage, ...]
    policy: BatchNorm

    def with_batch_norm(self) -> list[Stage]:
        """The stages that have batch norm."""
        return [stage for stage in self.stages if stage.batch_norms()]

    def changing(self) -> list[str]:
        """Names of the stages whose batch norm changes or depends on the batch."""
        return [] if self.policy == "eval" else [stage.name for stage in self.with_batch_norm()]

    def learning_parameters(self) -> Iterator[nn.Parameter]:
        """Scale and shift of batch norm, if they are trained."""
        if self.policy == "train":
            for stage in self.stages:
                for layer in stage.batch_norms():
                    yield from layer.parameters()

    def evaluate(self, training: bool) -> None:
        """Put the stages into evaluation mode, but batch norm that adapts into the mode of the network.

        Evaluation mode makes batch norm use the stored statistics and leave them alone. Without it the statistics
        drift, and training and evaluation see two different networks.

        Args:
            training: Mode of the network as a whole.
        """
        for stage in self.stages:
            for module in stage.modules:
                module.eval()
            for layer in stage.batch_norms():
                layer.train(training and self.policy != "eval")
