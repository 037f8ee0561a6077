"""How good a model is, in numbers and pictures, on clips that no training has seen.

`protocol` compares models and other systems on pairs of face and sound (`cals evaluate`), `quick` and `heads` are its
short forms. `ablation` scores the rows and systems of the paper's tables, `studies` measures one question each:
context, masking, noise, memory. `reading` and `recognition` have readers of lips and speech judge, `opinion` has
people. They share `clips`, which selects, `drives` and `outputs`, which generate, `scores` and `offsets`, which
measure, and `journal`, which resumes. How a result is written down is in `cals.report`.
"""
