"""CALS: make a face speak."""
