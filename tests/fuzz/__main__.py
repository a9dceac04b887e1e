"""Long runs of the fuzz suite: python -m tests.fuzz --cases 5000 --seed 1; python -m tests.fuzz --replay FILE"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tabulate import tabulate
from tqdm import tqdm

from tests.fuzz.session import KINDS, from_text, generated, module, temporary_site, to_text, try_case
from tests.fuzz.verdict import EITHER, Case, Verdict

EXECUTED_EVERY = 50  # of the accepted cases
READ_AND_USED = ("results", "checkpoints", "archives")  # every accepted case is carried out to its end
ENDINGS = ("accepted", "refused", "executed", "failed")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 1 if a case failed."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    counts: Counter[tuple[str, str]] = Counter()
    failed: list[tuple[Case, Verdict]] = []
    with temporary_site() as site:
        cases = [from_text(line) for line in args.replay.read_text().splitlines()] if args.replay else None
        cases = cases if cases is not None else list(_drawn(args.kinds, args.cases, args.seed))
        accepted: Counter[str] = Counter()
        for case in _progress(cases):
            verdict = try_case(case, site)
            counts[case.kind, verdict.ending] += 1
            failed += [(case, verdict)] if verdict.ending == "failed" else []
            if verdict.ending != "accepted" or case.kind in READ_AND_USED:
                continue
            accepted[case.kind] += 1
            if accepted[case.kind] % EXECUTED_EVERY == 0:
                to_the_end = replace(case, must=EITHER, what={**case.what, "then": "execute"})
                verdict = try_case(to_the_end, site)
                counts[case.kind, "executed" if verdict.ending != "failed" else "failed"] += 1
                failed += [(to_the_end, verdict)] if verdict.ending == "failed" else []
    _print(counts, failed, args.failures)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=5000, help="how many, over all kinds; those written by hand come first")
    add("--seed", type=int, default=1, help="seed of the generated cases")
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, help="only some kinds")
    add("--replay", type=Path, metavar="FILE", help="only the cases of a file that an earlier run wrote")
    add("--failures", type=Path, metavar="FILE", help="where to write failed cases, to replay them")
    return parser


def _drawn(kinds: Iterable[str], count: int, seed: int) -> Iterator[Case]:
    """The cases written by hand, and equal numbers of generated ones of each kind."""
    kinds = list(kinds)
    for k, kind in enumerate(kinds):
        share = count // len(kinds) + (k < count % len(kinds))
        by_hand = module(kind).hand()[:share]
        yield from by_hand
        yield from generated(kind, share - len(by_hand), seed)


def _progress(cases: list[Case]) -> Iterator[Case]:
    yield from tqdm(cases, unit="case", file=sys.__stderr__, disable=not sys.__stderr__.isatty())


def _print(counts: Counter, failed: list[tuple[Case, Verdict]], path: Path | None) -> None:
    rows = [[kind, *(counts[kind, ending] for ending in ENDINGS)] for kind in KINDS]
    total = ["all", *(sum(row[k + 1] for row in rows) for k in range(len(ENDINGS)))]
    for case, verdict in failed:
        print(f"FAILED (must: {case.must or 'either'}) {verdict.why}\n{to_text(case)}\n")
    print(tabulate([*rows, total], ["kind", *ENDINGS], tablefmt="github"))
    if failed and path:
        path.write_text("".join(f"{to_text(case)}\n" for case, _ in failed))
        print(f"python -m tests.fuzz --replay {path}")


if __name__ == "__main__":
    sys.exit(main())
