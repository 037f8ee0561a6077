"""`cals evaluate`: any systems' videos of the same pairs, judged on the same frames, in one table and on one page."""
