"""The study without pretrained weights: a small CNN trained from scratch on Fashion-MNIST."""

from fashion_cnn.classifier import FashionClassifier
from fashion_cnn.network import FashionCNN

__all__ = ["FashionCNN", "FashionClassifier"]
