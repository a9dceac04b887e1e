"""Reading and writing yaml texts; a text that is not what a configuration needs is refused at once."""

from typing import Any

import yaml

from dassl.errors import shown

# PyYAML's C versions are several times as fast, but not every build of PyYAML has them.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
DEPTH = 20  # of nodes in nodes
VALUES = 100_000  # in a text, where an alias counts as all that it stands for


def parse_yaml(text: str) -> Any:
    """Parse a yaml text.

    Raises:
        yaml.YAMLError: the text is not valid, repeats a key, nests nodes more than `DEPTH` deep, as a node in itself
            does, or holds more than `VALUES` values.
    """
    # The names of files may hold bytes that are no UTF-8. `dump_yaml` writes them as escapes that libyaml refuses.
    has_escaped_bytes = "\\uDC" in text
    try:
        loader = (yaml.SafeLoader if has_escaped_bytes else _LOADER)(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, 0, 0)
        return loader.construct_document(node)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
        # What PyYAML raises for values such as the date 2024-13-45, and for nodes that are too deep for its recursion.
        raise yaml.YAMLError(f"a value cannot be read: {shown(error)}") from error


def dump_yaml(content: Any) -> str:
    """Plain Python values as yaml text."""
    try:
        return yaml.dump(content, Dumper=_DUMPER)
    except UnicodeEncodeError:
        return yaml.dump(content, Dumper=yaml.SafeDumper)


def _count(node: yaml.Node, depth: int, found: int) -> int:
    """The number of values down to a node, `found` of them before it."""
    if depth > DEPTH:
        raise yaml.MarkedYAMLError(None, None, f"nodes are nested more than {DEPTH} deep", node.start_mark)
    if found > VALUES:
        raise yaml.MarkedYAMLError(None, None, f"more than {VALUES:,} values, with those of aliases", node.start_mark)
    found += 1
    if isinstance(node, yaml.MappingNode):
        _refuse_repeated_keys(node)
        for pair in node.value:
            for part in pair:
                found = _count(part, depth + 1, found)
    elif isinstance(node, yaml.SequenceNode):
        for element in node.value:
            found = _count(element, depth + 1, found)
    return found


def _refuse_repeated_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key '{key.value[:80]}' stands here again", key.start_mark)
            seen.add((key.tag, key.value))
