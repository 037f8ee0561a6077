"""The smallest model, for jobs from end to end whose mouths need not be good."""

import pytest

from cals import CheckpointError, LipSync


@pytest.fixture(scope="module")
def lips() -> LipSync:
    try:
        return LipSync("debug")
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
