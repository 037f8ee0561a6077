"""`cals context`, `cals masked`, `cals noisy`: the effect of audio context on the mouth (paper section 1)."""
