"""Read who imports whom from the code, and write docs/architecture.svg and the table of docs/architecture.md.

    python scripts/rooms.py

A room is a package or module directly below src/cals. tests/architecture fails where picture or table is old.
"""

import ast
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "cals"
FILES = sorted(SOURCE.rglob("*.py"))
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "architecture.svg"
BEGIN, END = "<!-- begin: written by scripts/rooms.py -->\n", "<!-- end -->\n"

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 108, 34, 16, 46, 16
"""Of a box and between boxes, px."""

Graph = dict[str, set[str]]


def find_room(path: Path) -> str:
    """Return the room of a file of src/cals; `cals` is the public API in `__init__.py`."""
    first = path.relative_to(SOURCE).parts[0]
    return "cals" if first == "__init__.py" else first.removesuffix(".py")


@cache
def read_imports(path: Path) -> tuple[str, ...]:
    """Return the module names that a file imports, those within functions too."""
    return tuple(_find_imports(path))


def _find_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from cals import hub` names rooms in the list, not in the module.
            yield from ([f"cals.{alias.name}" for alias in node.names] if module == "cals" else [module])


def read_graph() -> Graph:
    """Return room -> rooms that it imports; imports of `cals` itself, for its version, are left out."""
    graph: Graph = {find_room(path): set() for path in FILES}
    for path in FILES:
        room = find_room(path)
        for name in read_imports(path):
            top, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if top == "cals" and target in graph and target != room:
                graph[room].add(target)
    return graph


def read_purpose(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    places = (SOURCE / f"{room}.py", SOURCE / room / "__init__.py", SOURCE / "__init__.py")
    text = ast.get_docstring(ast.parse(next(p for p in places if p.is_file()).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def reduce_graph(graph: Graph) -> Graph:
    """Return the graph without the imports that follow from others (transitive reduction)."""
    return {
        room: {t for t in targets if not any(t in _reach(graph, o) for o in targets - {t})}
        for room, targets in graph.items()
    }


def _reach(graph: Graph, room: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(graph[room])
    while waiting:
        target = waiting.pop()
        assert target != room, f"{room} imports itself through others"
        if target not in reached:
            reached.add(target)
            waiting += graph[target]
    return reached


def build_layers(graph: Graph) -> list[list[str]]:
    """Return rows of rooms from the top down, such that every import points to a lower row."""
    depth: dict[str, int] = {}

    def measure(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max((measure(target) for target in graph[room]), default=-1)
        return depth[room]

    rows: dict[int, list[str]] = {}
    for room in sorted(graph):
        rows.setdefault(measure(room), []).append(room)
    layers = [rows[level] for level in sorted(rows, reverse=True)]
    # Each row from the second on: every room below the mean place of those that import it.
    place: dict[str, float] = {}
    for row in layers:
        row.sort(key=lambda room: (_mean([place[o] for o in place if room in graph[o]]), room))
        place |= {room: (index + 0.5) / len(row) for index, room in enumerate(row)}
    return layers


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def render_picture(graph: Graph) -> str:
    """Return the rooms as SVG: a box a room, an arrow an import that does not follow from others."""
    reduced = reduce_graph(graph)
    layers = build_layers(reduced)
    columns = max(map(len, layers))
    width = 2 * MARGIN + columns * (WIDTH + GAP_X) - GAP_X
    height = 2 * MARGIN + len(layers) * (HEIGHT + GAP_Y) - GAP_Y
    corner: dict[str, tuple[float, float]] = {}
    for row, rooms in enumerate(layers):
        left = (width - len(rooms) * (WIDTH + GAP_X) + GAP_X) / 2
        corner |= {room: (left + i * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y)) for i, room in enumerate(rooms)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for room in sorted(reduced):
        x, y = corner[room]
        for target in sorted(reduced[room]):
            to_x, to_y = corner[target]
            lines.append(
                f'<path d="M{x + WIDTH / 2:g} {y + HEIGHT:g}L{to_x + WIDTH / 2:g} {to_y:g}" stroke="#667" fill="none"'
                f' marker-end="url(#tip)"><title>{escape(room)} imports {escape(target)}</title></path>'
            )
    for room, (x, y) in sorted(corner.items()):
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#e8eaf6" stroke="#3f51b5"/>'
        )
        lines.append(
            f'<text x="{x + WIDTH / 2:g}" y="{y + 22:g}" text-anchor="middle" fill="#111">{escape(room)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def render_table(graph: Graph) -> str:
    """Return the rooms as a markdown table, from the top layer down, with all imports."""
    rows = [room for layer in build_layers(reduce_graph(graph)) for room in layer]
    lines = ["| room | purpose | imports |", "|---|---|---|"]
    lines += [f"| `{room}` | {read_purpose(room)} | {' '.join(sorted(graph[room])) or '-'} |" for room in rows]
    return "\n".join(lines) + "\n"


def render_page(page: str, graph: Graph) -> str:
    """Return the text of the page with its table written anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE.name}: expected the line {BEGIN!r}"
    assert end, f"{PAGE.name}: expected the line {END!r}"
    return before + BEGIN + render_table(graph) + END + after


def main() -> None:
    graph = read_graph()
    PICTURE.write_text(render_picture(graph), encoding="utf-8")
    PAGE.write_text(render_page(PAGE.read_text(encoding="utf-8"), graph), encoding="utf-8")


if __name__ == "__main__":
    main()
