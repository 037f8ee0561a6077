"""Faces in pictures: finding, following, aligning them, and putting a changed one back."""
