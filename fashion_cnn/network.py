"""A small CNN for small grey images."""

from torch import Tensor, nn


class FashionCNN(nn.Module):
    """Three times convolution, ReLU, max-pooling; then a fully connected classifier with dropout.

    With `width=32`, no batch norm and 28x28 grey input this is the plain arm: 0.39 M parameters.

    Args:
        num_classes: Number of classes.
        in_channels: 1 for grey images, 3 for colour.
        image_size: Side of the square input in pixels, at least 8 (three poolings halve it).
        width: Channels of the first block; the second has twice, the third four times as many.
        batch_norm: Put batch norm between convolution and ReLU.
        dropout: Probability of dropping a hidden unit of the classifier.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 28,
        width: int = 32,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.conv1 = self._block(in_channels, width, batch_norm)
        self.conv2 = self._block(width, 2 * width, batch_norm)
        self.conv3 = self._block(2 * width, 4 * width, batch_norm)
        features = 4 * width * (image_size // 8) ** 2  # 128 x 3 x 3 = 1,152 for the plain arm
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(features, 8 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, num_classes),
        )

    @staticmethod
    def _block(inputs: int, outputs: int, batch_norm: bool) -> nn.Sequential:
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm), *norm, nn.ReLU(), nn.MaxPool2d(2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, num_classes]` of normalised images `[B, in_channels, image_size, image_size]`."""
        logits: Tensor = self.classifier(self.conv3(self.conv2(self.conv1(images))))
        return logits
