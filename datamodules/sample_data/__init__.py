"""Draw small image sets in the official file formats of Fashion-MNIST, FER2013 and DeepWeeds, and a set of shapes.

A picture is a list of strokes in unit coordinates (x to the right, y down, the picture spans 0 to 1). A class defines
its strokes, a random pose moves them, and a random exposure spoils the result with light, blur and noise. Everything
follows from the seed: the same call writes the same bytes.

    python -m datamodules.sample_data --root data/sample
"""

from datamodules.sample_data.clothes import write_fashion_mnist
from datamodules.sample_data.faces import write_fer2013
from datamodules.sample_data.shapes import SHAPES, write_shapes
from datamodules.sample_data.weeds import NEGATIVE, WEEDS, write_deepweeds

__all__ = ["NEGATIVE", "SHAPES", "WEEDS", "write_deepweeds", "write_fashion_mnist", "write_fer2013", "write_shapes"]
