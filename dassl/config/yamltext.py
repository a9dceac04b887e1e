"""Reading and writing yaml texts; a text that is not what a configuration needs is refused at once."""

from typing import Any

import yaml

# PyYAML's C versions are several times as fast, but not every build of PyYAML has them.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def parse_yaml(text: str) -> Any:
    """Parse a yaml text; raises yaml.YAMLError if it is not valid."""
    return yaml.load(text, Loader=_LOADER)


def dump_yaml(content: Any) -> str:
    """Plain Python values as yaml text."""
    return yaml.dump(content, Dumper=_DUMPER)
