"""Speech recognition from sound and lips (AV-RelScore; Hong et al., 2023): tokens, networks, search, language model."""
