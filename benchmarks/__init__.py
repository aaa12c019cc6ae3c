"""Measurements: speed against what a user would write, cost of an epoch, correctness of the peers."""
