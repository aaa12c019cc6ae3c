import base64
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from basics.files import write_file
from classification.grad_cam import grad_cam

COUNT, LARGEST = 12, 96  # pictures; pixels on a side


def write_mistakes(path: Path, trainer: L.Trainer, classifier: Any, labels: Tensor, probabilities: Tensor) -> None:
    """Write mistakes.json: the wrong answers that the network was most confident of, as pictures.

    Args:
        path: Of the file.
        trainer: With the data module.
        classifier: What was tested.
        labels: Of the test split `[N]`.
        probabilities: Of the test split `[N, num_classes]`.
    """
    confidence, predicted = probabilities.max(1)
    wrong = torch.where(predicted != labels, confidence, -1.0)
    places = [int(place) for place in wrong.argsort(descending=True)[:COUNT] if wrong[place] > 0]
    record: dict[str, Any] = {"layer": None, "mistakes": []}
    if places:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        names, classes = data.splits["test"].names, classifier.class_names
        images = data.images_of("test", places)
        inputs = classifier.inputs(images.to(classifier.device))
        found = grad_cam(
            classifier.network, classifier.stage_outputs(), inputs, predicted[places].to(classifier.device)
        )
        record["layer"], maps = (None, None) if found is None else (found[0], found[1].float().cpu().numpy())
        for number, place in enumerate(places):
            image = images[number].permute(1, 2, 0).numpy()
            record["mistakes"].append(
                {
                    "name": names[place],
                    "true": classes[int(labels[place])],
                    "predicted": classes[int(predicted[place])],
                    "confidence": round(confidence[place].item(), 4),
                    "image": png(image),
                    "cam": None if maps is None else png(overlay(image, maps[number])),
                }
            )
    write_file(path, json.dumps(record) + "\n")


def overlay(image: Any, heat: Any) -> Any:
    """An image `[H, W, C]` in grey under a map `[H, W]` in [0, 1] in colours: uint8 `[H, W, 3]`."""
    import cv2

    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    return (0.5 * grey + 0.5 * colours).astype(np.uint8)


def png(image: Any) -> str:
    """A uint8 image `[H, W, C]` as the address of a picture of at most LARGEST pixels a side, for an HTML page."""
    import cv2

    if max(image.shape[:2]) > LARGEST:
        image = cv2.resize(image, (LARGEST, LARGEST), interpolation=cv2.INTER_AREA).reshape(LARGEST, LARGEST, -1)
    done, encoded = cv2.imencode(".png", image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
