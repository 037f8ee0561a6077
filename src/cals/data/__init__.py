"""From raw corpora to verified shards, and from shards to training windows."""
