"""`cals wer`: word error rates of speech recognisers on clean and corrupted clips, and on generated lips."""
