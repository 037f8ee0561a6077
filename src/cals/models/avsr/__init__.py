"""AV-RelScore: audio-visual speech recognition that scores how far each stream can be trusted (paper section 3)."""
