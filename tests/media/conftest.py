"""Makes `drawing`, the helpers shared by all tests that need media, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
