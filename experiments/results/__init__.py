"""From finished runs to results/<study>.json: scores with intervals, pairs of arms, verdicts, cost."""
