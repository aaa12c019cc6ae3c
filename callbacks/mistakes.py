"""The most confident wrong answers of a test, as pictures."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basics.files import write_json
from classification import Classifier
from classification.grad_cam import grad_cam
from datamodules import ImageDataModule

COUNT = 12  # pictures
LARGEST = 96  # pixels on a side


def write_mistakes(
    path: Path, data: ImageDataModule, classifier: Classifier, labels: Tensor, probabilities: Tensor
) -> None:
    """Write mistakes.json: the wrong answers that the network was most confident of, as pictures with Grad-CAM.

    Args:
        path: Path of the file.
        data: Data module with the test split.
        classifier: Classifier that was tested.
        labels: True classes of the test split `[N]`.
        probabilities: Predicted probabilities of the test split `[N, num_classes]`.
    """
    confidence, predicted = probabilities.max(1)
    wrong = torch.where(predicted != labels, confidence, -1.0)
    indices = [int(index) for index in wrong.argsort(descending=True)[:COUNT] if wrong[index] > 0]
    record: dict[str, Any] = {"layer": None, "mistakes": []}
    if indices:
        classes = classifier.class_names
        images = data.images_of("test", indices)
        inputs = classifier.inputs(images.to(classifier.device))
        answers = predicted[indices].to(classifier.device)
        found = grad_cam(classifier.network, classifier.stage_modules(), inputs, answers)
        record["layer"], maps = found or (None, None)
        for number, index in enumerate(indices):
            image = images[number].permute(1, 2, 0).numpy()
            mistake = {
                "name": data.splits["test"].names[index],
                "true": classes[int(labels[index])],
                "predicted": classes[int(predicted[index])],
                "confidence": round(confidence[index].item(), 4),
                "image": png(image),
                "cam": None if maps is None else png(overlay(image, maps[number].float().cpu().numpy())),
            }
            record["mistakes"].append(mistake)
    write_json(path, record, indent=None)


def overlay(image: Any, heat: Any) -> Any:
    """A picture, uint8 `[H, W, 3]`: an image `[H, W, C]` in grey under a map `[H, W]` in [0, 1] in colours."""
    import cv2

    colours = cv2.cvtColor(cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    return (0.5 * grey + 0.5 * colours).astype(np.uint8)


def png(image: Any) -> str:
    """A data URL of a uint8 image `[H, W, C]`, made smaller to at most LARGEST pixels a side, for an HTML page."""
    import cv2

    if max(image.shape[:2]) > LARGEST:
        image = cv2.resize(image, (LARGEST, LARGEST), interpolation=cv2.INTER_AREA).reshape(LARGEST, LARGEST, -1)
    done, encoded = cv2.imencode(".png", image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
