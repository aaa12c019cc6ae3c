"""The linear classifier of `lightning probe`."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from transfer.probe import fit_linear


def test_the_linear_classifier_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    features = rng.normal(size=(200, 6)) + labels[:, None] * rng.normal(size=6)
    features = (features - features.mean(0)) / features.std(0)
    expected = LogisticRegression(tol=1e-8, max_iter=1000).fit(features, labels)
    weight, bias = fit_linear(torch.tensor(features), torch.tensor(labels), 3)
    logits = torch.tensor(features) @ weight.T + bias
    np.testing.assert_allclose(logits.softmax(1), expected.predict_proba(features), atol=2e-3)
