"""Runs on one data set that were made with other sentences are set apart, so that no mean is over both."""

import re
from collections import Counter
from dataclasses import replace

from sweep.report.collect import Collected


def set_apart(found: Collected) -> list[str]:
    """Give runs another variant that were made with other sentences than most runs on their data set.

    Methods that read no prompt file stay where they are. Returns a line about each group.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for (variant, run), record in found.records.items():
        if record.sentences:
            counts.setdefault((variant, run.dataset), Counter())[record.sentences] += 1
    main = {group: of_group.most_common(1)[0][0] for group, of_group in counts.items() if len(of_group) > 1}
    moved: Counter[tuple[str, str]] = Counter()
    for (variant, run), record in list(found.records.items()):
        if record.sentences and record.sentences != main.get((variant, run.dataset), record.sentences):
            apart = f"{variant[:15]}_sentences_{re.sub('[^A-Za-z0-9]', '_', record.sentences[:12])}"
            del found.records[variant, run]
            found.records[apart, run] = replace(record, variant=apart)
            moved[run.dataset, apart] += 1
    return [
        f"{dataset}: {count} runs were made with other sentences than the rest; they stand apart as '{apart}'"
        for (dataset, apart), count in sorted(moved.items())
    ]
