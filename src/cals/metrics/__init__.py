"""Measures of results: pure functions."""
