"""`cals context` and `cals masked`: how much a mouth depends on the sound around it (paper section 1, Fig. 2 and 3)."""
