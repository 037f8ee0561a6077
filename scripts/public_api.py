"""Write down the public API, `cals.__all__` and what its functions return, in tests/architecture/public_api.txt.

    python scripts/public_api.py

tests/architecture fails where the file is old, so that no public name or default changes unnoticed.
"""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, get_args, get_type_hints

import cals

LIST = Path(__file__).parents[1] / "tests" / "architecture" / "public_api.txt"


def describe_api() -> str:
    """Return a line a class, attribute, method or function."""
    public = [getattr(cals, name) for name in sorted(cals.__all__)]
    lines = [line for item in public for line in _describe(item)]
    for item in find_returned(public):
        lines += _describe(item)
    return "\n".join(lines) + "\n"


def find_returned(public: list[Any]) -> list[type]:
    """Return the classes of `cals` that the public functions, methods and iterators return, but no public ones."""
    found: set[type] = set()
    for item in public:
        for function in [m for _, m in _members(item)] if isinstance(item, type) else [item]:
            hint = get_type_hints(function.fget if isinstance(function, property) else function).get("return")
            found |= {a for a in (hint, *get_args(hint)) if isinstance(a, type) and a.__module__.startswith("cals.")}
    return sorted(found - set(public), key=lambda item: item.__name__)


def _members(item: type) -> Iterator[tuple[str, Any]]:
    """Yield public methods and properties of a class itself, in the order of the source."""
    for name, member in vars(item).items():
        if not name.startswith("_") and isinstance(member, FunctionType | property):
            yield name, member


def _describe(item: Any) -> Iterator[str]:
    if not isinstance(item, type):
        yield f"def {item.__name__}{_signature(item)}"
        return
    if issubclass(item, Exception):
        yield f"class {item.__name__}({item.__base__.__name__})"
        return
    yield f"class {item.__name__}{_signature(item)}"
    for name, member in _members(item):
        if isinstance(member, property):
            yield f"    {name}: {_signature(member.fget).removeprefix('(self) -> ')}"
        else:
            yield f"    def {name}{_signature(member)}"


def _signature(function: Callable[..., Any] | None) -> str:
    assert function is not None
    text = str(inspect.signature(function)).removesuffix(" -> None")
    return text.replace("pathlib._local.", "pathlib.")  # Python 3.13 names the module otherwise


def main() -> None:
    LIST.write_text(describe_api(), encoding="utf-8")


if __name__ == "__main__":
    main()
