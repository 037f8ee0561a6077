"""From a face and a speech to a speaking face."""
