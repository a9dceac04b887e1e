"""Make a bundle of a checkpoint: of the published BiomedCoOp or Biomed-DPT code, or of a run without a bundle."""  # noqa: N999

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="the file, or the folder of the run that wrote it")
    add("--trainer", required=True, metavar="METHOD", help="the method, or METHOD_BACKBONE")
    add("--backbone", default="", help="the backbone (default: Tiny)")
    add("--backbone-path", default="", metavar="FOLDER", help="folder with the backbone's weights")
    add("--dataset", required=True, help="the data set, or a yaml file: its classes, template and settings")
    add(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the classes in label order, in place of the data set's",
    )
    add("--shots", type=int, default=16, help="training images per class, for the settings (default: 16)")
    add("--protocol", default="few_shot", help="few_shot (default) or base2new")
    add("--published", action="store_true", help="follow the official code where it differs from the paper")
    add("--load-epoch", type=int, help="the epoch after which the model was saved")
    add("--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="a setting (may be repeated)")
    add("--out", required=True, metavar="BUNDLE", help="the folder of the bundle")


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    import torch

    from runs.environment import environment
    from trainers.bundle import refuse_other_files, write_bundle
    from trainers.card import card
    from trainers.checkpoint import find
    from trainers.imported import import_checkpoint

    out, path = Path(args.out), Path(args.checkpoint)
    refuse_other_files(out)
    cfg, dataset, classes, prompts = configuration(args)
    path = find(path, args.load_epoch) if path.is_dir() else path
    provenance = {
        "source": f"imported from {path.name}",
        "dataset": dataset,
        "environment": environment(torch.device("cpu")),
    }
    bundle = import_checkpoint(path, cfg, provenance, args.classes, classes, prompts, args.load_epoch)
    print(f"classes: {', '.join(bundle.classnames)}")
    write_bundle(out, bundle, card(bundle.about))
    print(f"bundle in '{out}'")


def configuration(args: argparse.Namespace) -> tuple:
    """The configuration, the name of the data set, its classes where they are declared, and its prompt file."""
    from configs import Choice, build_cfg
    from dassl.data.datasets import DATASET_REGISTRY
    from datasets.splits import subsample

    opts = [word for pair in args.set for word in pair]
    opts += ["MODEL.BACKBONE.PATH", args.backbone_path] if args.backbone_path else []
    choice = Choice(
        args.trainer,
        backbone=args.backbone,
        dataset=args.dataset,
        protocol=args.protocol,
        shots=args.shots,
        published=args.published,
        opts=opts,
    )
    cfg = build_cfg(choice)
    of_dataset = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    classes = list(cfg.DATASET.CLASSES or getattr(of_dataset, "classes", ()))
    classes = [classes[label] for label in subsample(range(len(classes)), cfg.DATASET.SUBSAMPLE_CLASSES)]
    return cfg, choice.dataset, classes, cfg.DATASET.PROMPTS or getattr(of_dataset, "prompts", "")
