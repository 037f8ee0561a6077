"""Synthetic talking people with a known answer: how far in time a phone shapes the mouth is a parameter.

`phones` and `grammar` sample what is spoken, `mouth` computes how lips follow. `oracle` computes what could be known of
them from a window of the speech. `sound` synthesises it; `people`, `geometry` and `drawing` render it. `corpus` writes
it in the format of `cals prepare`. docs/context.md explains the instrument.
"""

VERSION = 1
"""Version of the generator; it grows when the same parameters make another corpus."""
