"""`cals evaluate`: the videos of several systems, scored on the same pairs and frames, in one table and on one page."""
