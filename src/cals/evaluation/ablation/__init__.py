"""`cals ablation`, its scores: the rows of the paper's Table 1 and the order they come in."""
