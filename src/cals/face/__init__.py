"""Faces in pictures: detection, tracking, alignment, and pasting a changed face back."""
