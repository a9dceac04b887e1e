"""Show the model card of a bundle; with --write, write it anew into the bundle."""

import argparse

from biomed_dpt.arguments import add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--write", action="store_true", help="replace README.md in the folder")


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from biomed_dpt.hub import SCHEME, open_bundle
    from dassl.errors import InputError
    from dassl.utils import atomic_path
    from trainers.bundle import CARD_FILE
    from trainers.card import card

    if args.write and args.bundle.startswith(SCHEME):
        raise InputError(f"'{args.bundle}' is on the hub; download it, write its card and push it")
    bundle = open_bundle(args.bundle)
    text = card(bundle.about)
    if not args.write:
        print(text)
        return
    file = Path(bundle.where) / CARD_FILE
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote '{file}'")
