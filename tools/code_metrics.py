"""Prints metrics of the code, such as repeated lines and import circles: python -m tools.code_metrics

Exits with 1 if a number is beyond its limit.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tabulate import tabulate

PROJECT = Path(__file__).resolve().parent.parent
# From the lowest floor to the highest; a file may import from its own floor and from those below.
FLOORS = (
    ("dassl",), ("clip", "prompts"), ("datasets",), ("trainers",), ("configs",), ("runs",), ("biomed_dpt",),
    ("sweep", "evidence", "bench"), ("train", "predict"),
)  # fmt: skip
FREE = ("tools", "tests")  # may import everything
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

REPEATED_CONFIGS = "repeated lines in configs/, in %"
REPEATED = "repeated lines in trainers/, in %"
REPEATED_BODIES = "the same without imports, decorators and signatures"
LONG, LONGEST = "files over 300 lines", "lines of the longest file"
DEPTH = "deepest inheritance above nn.Module in trainers/"
CIRCLES, UPWARD, README = "circles between files", "upward imports", "lines of README.md"
LIMITS = {
    REPEATED_CONFIGS: 15, REPEATED: 21, REPEATED_BODIES: 9.9, LONG: 0, LONGEST: 300, DEPTH: 4, CIRCLES: 0, UPWARD: 0,
    README: 160,
}  # fmt: skip

QUOTES = '"""'
Graph = Mapping[str, set[str]]


def main() -> int:
    """Print the numbers; returns 1 if a limit is broken."""
    found = numbers(PROJECT)
    rows = [[name, *found[name], limit, "" if _holds(found, name) else "broken"] for name, limit in LIMITS.items()]
    header = ["what", "value", "where", "limit", ""]
    print(tabulate(rows, header, disable_numparse=True, colalign=("left", "right", "left", "right", "left")))
    return 0 if all(_holds(found, name) for name in LIMITS) else 1


def numbers(root: Path) -> dict[str, tuple[float, str]]:
    """Each number, and where it comes from, by its name in LIMITS."""
    graph = import_graph(root)
    lengths = {file: len((root / file).read_text(encoding="utf-8").splitlines()) for file in graph}
    longest = max(lengths, key=lengths.__getitem__, default="")
    long = [file for file, length in lengths.items() if length > LIMITS[LONGEST]]
    sources = [path.read_text(encoding="utf-8") for path in sorted((root / "trainers").rglob("*.py"))]
    depth, deepest = deepest_inheritance(sources)
    yaml = [path.read_text(encoding="utf-8") for path in sorted((root / "configs").rglob("*.yaml"))]
    found_circles, found_upward = circles(graph), upward(graph)
    readme = root / "README.md"
    return {
        REPEATED_CONFIGS: (repeated(line for text in yaml for line in text.splitlines()), f"{len(yaml)} yaml files"),
        REPEATED: (repeated(line for text in sources for line in text.splitlines()), f"{len(sources)} files"),
        REPEATED_BODIES: (repeated(line for text in sources for line in body_lines(text)), ""),
        LONG: (len(long), ", ".join(long)),
        LONGEST: (lengths.get(longest, 0), longest),
        DEPTH: (depth, deepest),
        CIRCLES: (len(found_circles), "; ".join(" - ".join(circle) for circle in found_circles)),
        UPWARD: (len(found_upward), "; ".join(f"{file} > {other}" for file, other in found_upward)),
        README: (len(readme.read_text(encoding="utf-8").splitlines()) if readme.is_file() else 0, ""),
    }


def repeated(lines: Iterable[str]) -> float:
    """Non-blank lines that occur before, apart from indentation, in percent of all non-blank lines."""
    stripped = [text for line in lines if (text := line.strip())]
    return round(100 * (1 - len(set(stripped)) / len(stripped)), 1) if stripped else 0.0


def body_lines(source: str) -> list[str]:
    """The lines of a module without imports, decorators, signatures, and quotes that only begin or end a docstring."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, node.end_lineno + 1))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            # A body on the line of its signature belongs to the signature.
            left_out.update(range(first, max(node.body[0].lineno, node.lineno + 1)))
    lines = enumerate(source.splitlines(), start=1)
    return [line for number, line in lines if number not in left_out and line.strip() != QUOTES]


def deepest_inheritance(sources: Iterable[str]) -> tuple[int, str]:
    """The longest chain of classes down from nn.Module in a folder's modules: its length and its last class.

    A class that inherits from nn.Module directly counts 1.
    """
    nodes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base) for base in node.bases] for node in nodes}

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above or name not in bases:
            return 0
        below_module = any(base.rpartition(".")[2] == "Module" for base in bases[name])
        inherited = max((depth(base, (*above, name)) for base in bases[name]), default=0)
        return inherited + 1 if inherited or below_module else 0

    return max(((depth(name), name) for name in bases), default=(0, ""))


def import_graph(root: Path) -> dict[str, set[str]]:
    """The other files of the project that each file imports, anywhere in it; paths are relative to the root."""
    rooms = [*FLOOR, *FREE]
    paths = [path for room in rooms for path in (root / room).rglob("*.py")]
    paths += [path for room in rooms if (path := root / f"{room}.py").is_file()]
    files = {path.relative_to(root).as_posix(): path for path in sorted(paths)}
    return {
        file: {found for name in _imported(file, path) if (found := _file_of(name, files))} - {file}
        for file, path in files.items()
    }


def circles(graph: Graph) -> list[list[str]]:
    """Groups of files that import each other, directly or through others."""
    reached = {file: _reachable(graph, file) for file in graph}
    groups = {frozenset(other for other in reached[file] if file in reached[other]) for file in graph}
    return sorted(sorted(group) for group in groups if group)


def upward(graph: Graph) -> list[tuple[str, str]]:
    """Imports of a file on a higher floor, as (importing file, imported file)."""
    floors = {file: FLOOR.get(file.partition("/")[0].removesuffix(".py")) for file in graph}
    return [
        (file, other)
        for file, imported in graph.items()
        for other in sorted(imported)
        if None not in (floors[file], floors[other]) and floors[other] > floors[file]
    ]


def _imported(file: str, path: Path) -> Iterator[str]:
    """Full names of everything that a file imports: modules, and what is imported from them."""
    package = file.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _file_of(name: str, files: Mapping[str, Path]) -> str | None:
    """The file of a module, or of the module that a name is imported from; None for other packages."""
    while name:
        path = name.replace(".", "/")
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if file in files:
                return file
        name = name.rpartition(".")[0]
    return None


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    left = list(graph[start])
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += graph[file]
    return found


def _holds(found: Mapping[str, tuple[float, str]], name: str) -> bool:
    strict = name == REPEATED_CONFIGS  # below the limit, not at it
    value = found[name][0]
    return value < LIMITS[name] if strict else value <= LIMITS[name]


if __name__ == "__main__":
    sys.exit(main())
