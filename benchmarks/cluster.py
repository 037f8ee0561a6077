"""How `cals prepare` scales over a Ray cluster of two nodes, both on this machine, as a markdown table.

    python benchmarks/cluster.py VIDEOS [--layout grid] [--clips 64] [--rounds 2]

Processes of this machine and nodes of the cluster take turns, one and two of each; the least of `--rounds` times
counts. All corpora have to be the same, byte for byte; exit 1 where they are not. Needs two idle cores and
`pip install 'cals[ray]'`.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

WAYS = [(where, workers) for workers in (1, 2) for where in ("processes", "nodes")]


def link_clips(videos: Path, out: Path, count: int) -> None:
    """Link the first `count` videos, a speaker at a time so that all speakers are there, and what lies beside them."""
    by_speaker = [sorted(folder.glob("*.mp[4g]*")) for folder in sorted(videos.iterdir())]
    turns = [clips[n] for n in range(count) for clips in by_speaker if n < len(clips)][:count]
    for clip in turns:
        place = out / clip.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for file in clip.parent.glob(f"{clip.stem}.*"):
            (place / file.name).symlink_to(file.resolve())


def measure(layout: str, videos: Path, out: Path, workers: int, address: str | None) -> float:
    """Prepare once; return the seconds."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cals", "prepare", layout, str(videos), "--out", str(out)]
    command += ["--workers", str(workers), *(["--ray", address] if address else [])]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def compute_digest(corpus: Path) -> str:
    """Hash all files of a corpus, names included."""
    digest = hashlib.sha256()
    for file in sorted(file for file in corpus.rglob("*") if file.is_file()):
        digest.update(str(file.relative_to(corpus)).encode() + file.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--layout", default="grid")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    node = {"num_cpus": 1, "env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(**node)
    best, digests = dict.fromkeys(WAYS, float("inf")), set()
    with tempfile.TemporaryDirectory() as place:
        videos, out = Path(place) / "videos", Path(place) / "corpus"
        link_clips(options.videos, videos, options.clips)
        for _ in range(options.rounds):
            for where, workers in WAYS:
                address = cluster.address if where == "nodes" else None
                best[where, workers] = min(best[where, workers], measure(options.layout, videos, out, workers, address))
                digests.add(compute_digest(out))
    cluster.shutdown()
    print("| | one, s | two, s | ratio |\n|---|---|---|---|")
    for where in ("processes", "nodes"):
        one, two = best[where, 1], best[where, 2]
        print(f"| {where} | {one:.1f} | {two:.1f} | {one / two:.2f} |")
    if len(digests) > 1:
        sys.exit("the corpora differ")


if __name__ == "__main__":
    main()
