"""The public API is what the list says, and the API reference has all of it."""

import cals
from public_api import LIST, describe_api, find_returned
from rooms import ROOT

API_PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_public_api_is_as_listed() -> None:
    assert describe_api().splitlines() == LIST.read_text(encoding="utf-8").splitlines(), (
        "the public API differs from tests/architecture/public_api.txt; if that is meant, run `make renew`, "
        "and say it in CHANGELOG.md"
    )


def test_api_reference_has_all_of_it() -> None:
    documented = {line.removeprefix("::: ") for line in API_PAGE.splitlines() if line.startswith("::: ")}
    returned = find_returned([getattr(cals, name) for name in cals.__all__])
    expected = {f"cals.{name}" for name in cals.__all__} | {f"{item.__module__}.{item.__name__}" for item in returned}
    assert documented == expected, "docs/api.md: expected a `:::` line for each public name and class returned"
