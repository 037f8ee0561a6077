"""Layers that know nothing of lips."""
