"""`cals web`: the page in a browser, for people who never open a terminal."""
