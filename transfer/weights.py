"""Pretrained weights: from timm's hub by tag, from a file, or none."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from basics.errors import UserError
from transfer.stages import head_prefixes

HUB = "hub"
NONE = "none"


def load_weights(network: nn.Module, backbone: str, weights: str) -> None:
    """Load pretrained weights into all stages but the new head.

    Args:
        network: A model of timm, made without pretrained weights.
        backbone: timm name and tag of the model, such as `resnet50.tv_in1k`. The tag is part of the experiment: with
            two tags of ResNet-50, macro-F1 on DeepWeeds was 0.83 and 0.95.
        weights: `hub` for the weights of that tag, `none`, or the path of a safetensors file or torch state dict.

    Raises:
        UserError: The hub cannot be reached or does not know the tag, or the file does not fit.
    """
    if weights == NONE:
        return
    state = _from_hub(backbone) if weights == HUB else _from_file(Path(weights))
    body = {name: own for name, own in network.state_dict().items() if not name.startswith(head_prefixes(network))}
    for name, own in body.items():
        if name not in state or state[name].shape != own.shape:
            what = f"has another shape of {name}" if name in state else f"lacks {name}"
            raise UserError(f"{weights} {what}: it does not fit {backbone}; name its own backbone")
    network.load_state_dict({name: state[name] for name in body}, strict=False)
    rank_zero_info(f"pretrained weights: {backbone if weights == HUB else weights}")


def _from_hub(backbone: str) -> dict[str, Tensor]:
    import timm
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it would report every retry
    try:
        state: dict[str, Tensor] = timm.create_model(backbone, pretrained=True).state_dict()
    except Exception as error:  # hub clients let any error of their HTTP library through
        raise UserError(
            f"cannot get weights {backbone!r} from the hub ({type(error).__name__}): check the tag and the network, "
            "or pass --model.weights FILE (safetensors or torch state dict) or --model.weights none"
        ) from error
    return state


def _from_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"no weights file {path}: pass --model.weights FILE, hub or none")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = dict(state.get("state_dict", state))
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(f"{path} is neither a safetensors file nor a plain torch state dict") from error
    # A checkpoint of this project's own TransferClassifier serves as well.
    return {name.removeprefix("network."): value for name, value in state.items() if isinstance(value, Tensor)}
