"""Drawn people who speak, with a known answer: how far in time a phone shapes the mouth is a parameter.

`phones` and `grammar` say what is spoken, `mouth` how lips follow, `oracle` what could be known of them from a window
of it, `sound` how it sounds, `people`, `geometry` and `drawing` how it looks; `corpus` writes it as `cals prepare`
writes a real one. docs/context.md explains the instrument.
"""

VERSION = 1
"""Of the generator: grows when the same parameters make another corpus."""
