from pathlib import Path

import pytest

from datamodules import sample_data


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory) -> Path:
    """A folder with tiny versions of all four data sets, in the official file formats; not to be changed."""
    root = tmp_path_factory.mktemp("sample")
    sample_data.write_fashion_mnist(root, train=200, test=51)
    sample_data.write_fer2013(root, train=140, val=35, test=35)
    sample_data.write_deepweeds(root, images=90, size=32)
    sample_data.write_shapes(root, train=64, val=16, size=32)
    return root
