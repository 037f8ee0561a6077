"""Networks of others, for users who have their weights: own code that takes the public files as they are."""
