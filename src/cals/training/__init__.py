"""Training: stages, presets and one loop."""
