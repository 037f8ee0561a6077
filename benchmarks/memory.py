"""Memory of a process, as Linux counts it."""

import re
from pathlib import Path


def read_memory_mb(process: int | str = "self") -> tuple[float, float]:
    """Return what a process holds now and what it held at most; 0 where it has just ended.

    Of the peak `getrusage` tells that of the process that started this one, where it is higher.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    sizes = {name: int(kb) / 1024 for name, kb in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status)}
    return sizes.get("VmRSS", 0.0), sizes.get("VmHWM", 0.0)
