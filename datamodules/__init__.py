"""One LightningDataModule a data set, over one base class."""

from datamodules.base import ImageDataModule
from datamodules.deepweeds import DeepWeeds
from datamodules.fashion_mnist import FashionMNIST
from datamodules.fer2013 import FER2013
from datamodules.image_folder import ImageFolder

__all__ = ["FER2013", "DeepWeeds", "FashionMNIST", "ImageDataModule", "ImageFolder"]
