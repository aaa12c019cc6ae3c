"""A timm network by name."""

from difflib import get_close_matches

from torch import nn

from basics.errors import UserError


def build_backbone(name: str, num_classes: int, dropout: float) -> nn.Module:
    """Make a timm network with a new head, without pretrained weights.

    Args:
        name: timm name and weights tag, such as `resnet50.tv_in1k`.
        num_classes: Number of classes of the head.
        dropout: Probability of dropping a feature before the head.

    Raises:
        UserError: timm does not know the name; the message proposes similar ones.
    """
    import timm

    try:
        network: nn.Module = timm.create_model(name, num_classes=num_classes, drop_rate=dropout)
    except RuntimeError as error:
        near = get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() has the names"
        raise UserError(f"unknown backbone {name!r}: {hint}") from error
    return network
