"""`cals models`: what there is, and fetching what is not shipped."""

from typing import Annotated, Literal

import tyro

from cals import hub


def models(action: Annotated[Literal["list", "download"], tyro.conf.Positional]) -> None:
    """List the models, or fetch the face networks into the cache.

    Args:
        action: `list` prints names, licences and where they lie; `download` fetches what is missing.
    """
    if action == "download":
        for path in hub.download():
            print(path)
        return
    for name, what in hub.MODELS.items():
        print(f"{name}\tlip model\tApache-2.0\t{what}")
    for item in hub.FACE_FILES:
        place = hub.cache_dir() / "face" / item.name
        print(
            f"{item.name}\tface network\t{item.licence}\t{item.origin}\t{place if place.is_file() else 'not fetched'}"
        )
