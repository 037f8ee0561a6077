"""A few seconds of the fuzz benchmark with a fixed seed: broken files are read or refused, nothing else."""

import random

import fuzz_media


def test_broken_files_are_read_or_refused(tmp_path):
    rng = random.Random(11)
    (tmp_path / "broken").mkdir()
    paths = fuzz_media.mutants(fuzz_media.draw_sources(tmp_path), tmp_path / "broken", rng, 40)
    verdicts = fuzz_media.judge(paths)
    assert len(verdicts) == 5 * len(paths)
    assert {verdict for _, verdict in verdicts} == {"read", "refused"}
