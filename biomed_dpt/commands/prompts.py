"""Check the sentences of prompt files, or draft sentences for classes of one's own."""

import argparse
from pathlib import Path

from dassl.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|write")
    add = actions.add_parser(
        "check", help="what is wrong with sentences, and how well they tell classes apart"
    ).add_argument
    add("files", nargs="*", metavar="FILE", help="prompt files (default: those of this project)")
    add("--backbone", default="", help="also compare the features of its text tower, such as BiomedCLIP")
    add("--backbone-path", default="", help="folder with the weights of the backbone")
    about = "draft sentences for classes of your own with a language model"
    add = actions.add_parser("write", help=about).add_argument
    add("brief", type=Path, metavar="BRIEF", help="JSON: modality, template, classes with what their images show")
    add("--out", type=Path, required=True, help="the prompt file that is written; it must not exist")
    add("--count", type=int, default=50, help="sentences per class (default: 50)")
    add("--endpoint", default="", help="an OpenAI-compatible address; the brief is sent to it")
    add("--model", default="", help="the name of the model at the endpoint")
    add("--local", default="", help="instead: a chat model of transformers, a folder or its name on the hub")


def run(args: argparse.Namespace) -> int:
    return _check(args) if args.action == "check" else _write(args)


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


def _write(args: argparse.Namespace) -> int:
    from biomed_dpt.sentences.check import check
    from biomed_dpt.sentences.drafting import as_file, draft, read_brief
    from biomed_dpt.sentences.models import endpoint, local
    from dassl.utils import write_json
    from prompts import load_prompts

    brief = read_brief(args.brief)
    if args.count < 1:
        raise InputError(f"--count {args.count}: at least 1 sentence per class is needed")
    if args.out.exists() or args.out.suffix != ".json":
        raise InputError(f"--out {args.out}: name a .json file that does not exist")
    if bool(args.endpoint) == bool(args.local):
        raise InputError("name a language model: --endpoint ADDRESS --model NAME, or --local MODEL")
    if args.endpoint and not args.model:
        raise InputError("--endpoint needs --model, the name of the model there")
    ask = endpoint(args.endpoint, args.model) if args.endpoint else local(args.local)
    write_json(as_file(brief, draft(brief, args.count, ask), args.out.stem), str(args.out))
    findings = check(load_prompts(str(args.out)))
    print(f"{findings.sentences} sentences in '{args.out}'. A specialist should read them before they are used.")
    print("\n".join(findings.faults + findings.advice))
    return 0
