"""Upload a bundle to the Hugging Face hub."""

import argparse
import sys

from biomed_dpt.arguments import add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("repository", metavar="USER/NAME", help="the repository, which is created if it is missing")
    parser.add_argument("--private", action="store_true", help="create a repository that only its owner can see")
    parser.add_argument("--message", default="", help="message of the commit (default: method and backbone)")
    parser.add_argument("--yes", action="store_true", help="do not ask before the upload")


def run(args: argparse.Namespace) -> int | None:
    from biomed_dpt.hub import check_repository, open_bundle, push

    bundle = open_bundle(args.bundle)
    check_repository(args.repository)
    if not args.yes and not confirmed(
        f"'{bundle.where}' ({bundle.method} on {bundle.backbone}; classes {', '.join(bundle.classnames)}; digests of "
        f"the training images, no images) will be uploaded to '{args.repository}'"
    ):
        print("nothing was uploaded", file=sys.stderr)
        return 1
    print(push(bundle.where, args.repository, args.private or None, args.message))
    return None


def confirmed(what: str) -> bool:
    """Ask on the terminal.

    Raises:
        InputError: there is no terminal to ask on.
    """
    from dassl.errors import InputError, printable

    if not sys.stdin.isatty():
        raise InputError(f"{what}; confirm with --yes")
    return input(f"{printable(what)}. Go on? [y/N] ").strip().lower() in ("y", "yes")
