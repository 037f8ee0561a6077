"""Corruption of speech and mouths with known bursts: for audio-visual speech recognition.

`config` holds how much and of what kind, `bursts` draws which frames of a clip, `pictures` and `sound` apply that.
`occluders`, `shapes` and `grounds` draw what covers a mouth; `noise` is mixed with speech. docs/avsr.md explains the
model.
"""
