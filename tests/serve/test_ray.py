"""The server over a Ray cluster of two nodes, of which a worker and a node die."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cals.cli import main
from serve_process import ServerProcess, wait_for

pytestmark = pytest.mark.slow

LONG_S = 6.0


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Start two nodes of one processor each on this machine."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'cals[ray]'")
    settings = {"num_cpus": 1, "env_vars": {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}}
    nodes = utils.Cluster(initialize_head=True, head_node_args=settings)
    nodes.settings = settings
    yield nodes
    nodes.shutdown()


def find_workers() -> set[int]:
    """Return the processes that Ray runs jobs in, by the name of their class."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Worker"):
                found.add(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_a_cluster_loses_no_job(tmp_path: Path, start_server: Callable[..., ServerProcess], cluster: Any) -> None:
    before = find_workers()
    server = start_server("--ray", cluster.address)
    job = server.submit(tmp_path, LONG_S)
    wait_for(lambda: 0 < server.show(job)["frames"] < server.show(job)["total"])
    for pid in find_workers() - before:
        os.kill(pid, signal.SIGKILL)
    assert server.wait(job, "done", "failed")["frames"] == 25 * LONG_S
    assert "cals_worker_deaths_total 1.0" in server.client.get("/metrics").text

    for pid in find_workers() - before:  # between two jobs: costs none a try
        os.kill(pid, signal.SIGKILL)
    assert server.wait(server.submit(tmp_path), "done", "failed")["frames"] == 5
    assert "cals_worker_deaths_total 1.0" in server.client.get("/metrics").text

    unwanted = server.submit(tmp_path, 60.0)
    wait_for(lambda: server.show(unwanted)["frames"] > 0)
    assert server.client.delete(f"/v1/jobs/{unwanted['id']}").status_code == 204
    assert not (tmp_path / "data" / "jobs" / unwanted["id"]).exists()

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(300) == 0
    wait_for(lambda: not find_workers() - before, 60)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_jobs_of_a_lost_node_wait_for_room(
    tmp_path: Path, start_server: Callable[..., ServerProcess], cluster: Any
) -> None:
    node = cluster.add_node(**cluster.settings)
    server = start_server("--ray", cluster.address)
    jobs = [server.submit(tmp_path, 30.0) for _ in range(2)]
    wait_for(lambda: all(server.show(job)["frames"] > 0 for job in jobs))
    cluster.remove_node(node, allow_graceful=False)
    wait_for(lambda: sorted(server.show(job)["state"] for job in jobs) == ["queued", "running"], 120)
    for job in jobs:
        view = server.wait(job, "done", "failed")
        assert (view["state"], view["frames"]) == ("done", 750)


def test_a_missing_ray_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ["serve", "--data", str(tmp_path / "data"), "--port", "0", "--model", "debug", "--ray", "auto"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    error = capsys.readouterr().err.strip()
    assert (end.value.code, error.count("\n"), "pip install 'cals[ray]'" in error) == (1, 0, True), error
