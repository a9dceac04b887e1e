"""Check the sentences of prompt files, or draft sentences for classes of one's own."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check")
    check = actions.add_parser("check", help="what is wrong with sentences, and how well they tell classes apart")
    check.add_argument("files", nargs="*", metavar="FILE", help="prompt files (default: those of this project)")
    check.add_argument("--backbone", default="", help="also compare the features of its text tower, such as BiomedCLIP")
    check.add_argument("--backbone-path", default="", help="folder with the weights of the backbone")


def run(args: argparse.Namespace) -> int:
    return _check(args)


def _check(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    from biomed_dpt.sentences.check import HEADER, check, confusions
    from biomed_dpt.sentences.measures import separability
    from prompts import available_prompts, load_prompts

    files = [load_prompts(name) for name in args.files or available_prompts()]
    found = [check(prompts) for prompts in files]
    rows = [findings.row() for findings in found]
    print(tabulate(rows, HEADER, tablefmt="github", disable_numparse=True))
    for findings in found:
        for kind, lines in (("fault", findings.faults), ("advice", findings.advice)):
            for line in lines:
                print(f"{findings.name}: {kind}: {line}")
    if args.backbone:
        from biomed_dpt.sentences.encoded import text_features

        for prompts, features in zip(files, text_features(args.backbone, args.backbone_path, files), strict=True):
            print(f"\n{prompts.source.stem} on {args.backbone}: separable {separability(features):.3f}")
            print("\n".join(confusions(prompts, features)))
    return 1 if any(findings.faults for findings in found) else 0
