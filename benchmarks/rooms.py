"""Where the weight of the code lies: the figures of each room of the package, before and now.

    git archive 7a24ca8 src | tar x -C /tmp && python -m benchmarks.rooms /tmp/src src

In: source folders with the package in them. Out: rows for the table in docs/architecture.md.

    room       a folder of the package; `root` is what lies beside them
    arrows     imports of one module by another, inside functions too, from the room
    circles    groups of modules of the room that import each other in a circle
    repeats    runs of six lines or more that occur elsewhere in the package too, from the room; of code,
               without imports, docstrings, comments and empty lines
"""

import argparse
import ast
from collections import Counter, defaultdict
from pathlib import Path

from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

RUN = 6
FIGURES = ("lines", "files", "arrows", "circles", "repeats")
Modules = dict[str, Path]


def modules_in(source: Path) -> Modules:
    """The modules of the package, by name."""
    paths = sorted((source / "hafm").rglob("*.py"))
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def room_of(path: Path) -> str:
    """The folder of the package that a file is in."""
    inner = path.parts[len(path.parts) - path.parts[::-1].index("hafm") :]
    return inner[0] if len(inner) > 1 else "root"


def imports_of(path: Path, modules: Modules) -> set[str]:
    """Modules of the package that a file names in an import."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & modules.keys() or {node.module} & modules.keys()
    return {name for name in found if modules[name] != path}


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """One module of each circle."""
    names = list(arrows)
    edges = [(names.index(one), names.index(other)) for one in names for other in arrows[one]]
    rows, columns = zip(*edges, strict=True)
    graph = csr_array(([1] * len(edges), (rows, columns)), shape=(len(names), len(names)))
    _, groups = connected_components(graph, connection="strong")
    first = {group: name for name, group in zip(names, groups, strict=True)}
    return [first[group] for group, size in Counter(groups).items() if size > 1]


def code_of(path: Path) -> list[str]:
    """Lines of code, without indents."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_left_out = isinstance(node, ast.Import | ast.ImportFrom)
        is_left_out |= isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and is_left_out:
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in left_out]
    return [line for line in lines if line and not line.startswith("#")]


def repeats(modules: Modules) -> Counter[str]:
    """How many runs of each room occur elsewhere too."""
    files = {path: code_of(path) for path in modules.values()}
    places = defaultdict(set)
    for path, lines in files.items():
        for start in range(len(lines) - RUN + 1):
            places[tuple(lines[start : start + RUN])].add((path, start))
    found: Counter[str] = Counter()
    for path, lines in files.items():
        repeated = [
            len(places[tuple(lines[start : start + RUN])]) > 1 for start in range(len(lines) - RUN + 1)
        ]
        found[room_of(path)] += sum(
            one and not before for before, one in zip([False, *repeated], repeated, strict=False)
        )
    return found


def figures_of(source: Path) -> dict[str, Counter[str]]:
    """The figures of each room."""
    modules = modules_in(source)
    arrows = {name: imports_of(path, modules) for name, path in modules.items()}
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for name, path in modules.items():
        lines = len(path.read_text().splitlines())
        rooms[room_of(path)] += Counter(lines=lines, files=1, arrows=len(arrows[name]))
    for name in circles(arrows):
        rooms[room_of(modules[name])]["circles"] += 1
    for room, number in repeats(modules).items():
        rooms[room]["repeats"] += number
    return rooms


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("now", type=Path)
    words = parser.parse_args()
    before, now = figures_of(words.before), figures_of(words.now)
    for rooms in (before, now):
        rooms["all"] = sum(rooms.values(), Counter())
    for room in now:
        cells = [f"{before[room][name]:,} → {now[room][name]:,}" for name in FIGURES]
        print(f"| `{room}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
