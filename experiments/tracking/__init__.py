"""Weights & Biases: the logger of a run, uploads, one dashboard for all studies."""
