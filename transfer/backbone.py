"""A timm network by name."""

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
        raise UserError(f"unknown backbone {name!r}: {_similar(name)}") from error
    return network


def _similar(name: str) -> str:
    import difflib

    import timm

    names = timm.list_models() + timm.list_pretrained()
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else "timm.list_models() has the names"
