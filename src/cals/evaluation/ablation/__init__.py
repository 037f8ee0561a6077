"""Scores of `cals ablation`: the rows of the paper's Table 1 and their order."""
