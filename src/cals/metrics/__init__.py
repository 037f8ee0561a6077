"""Metrics of results: pure functions."""
