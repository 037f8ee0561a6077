"""Damaged speech and mouths, and the truth of what was damaged: for audio-visual speech recognition.

`config` says how much and of what kind, `bursts` draws which frames of a clip, `pictures` and `sound` apply that;
`occluders`, `shapes` and `grounds` draw what comes before a mouth, `noise` is what is heard beside speech.
docs/avsr.md explains the model.
"""
