"""`cals context`, `cals masked`, `cals noisy`: how a mouth depends on the sound around it (paper section 1)."""
