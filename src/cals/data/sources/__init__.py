"""One file a corpus: how its folders name speakers, clips and words."""
