"""How good a model is, in numbers and pictures, on clips that no training has seen."""
