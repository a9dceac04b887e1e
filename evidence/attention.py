"""The command `python -m evidence attention`: from arguments to a folder with results and report."""

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from yacs.config import CfgNode

from configs import Choice, build_cfg, is_path
from dassl.data.datasets import Datum, build_dataset, build_image_reader
from dassl.engine import build_trainer
from dassl.errors import InputError
from datasets.folder import data_root
from evidence import conditions, texts
from evidence.accuracy import nearest_class_means
from evidence.maps import encode
from evidence.masks import Masks, seen
from evidence.pictures import choose, write_pictures
from evidence.recording import Recorder
from evidence.report import print_report
from evidence.results import FILE, Results, read_results
from evidence.subject import Subject
from runs.environment import environment
from runs.imports import import_file
from runs.run import dataset_name
from sweep.check import refuse_unwritable
from trainers.tuner import Tuner


def measure(args: argparse.Namespace) -> None:
    """Measure all images, and write results, pictures and report into the output folder.

    Raises:
        InputError: bad arguments, images, masks or bundles, or another measurement in the output folder.
    """
    started = time.time()
    for path in args.imports:
        import_file(path)
    cfg = _configuration(args, args.seeds[0])
    folder = args.output or Path("output_evidence", _name(args.dataset), cfg.MODEL.BACKBONE.NAME)
    tuner = build_trainer(cfg)
    subject, facts = _subject(args, tuner)
    curves = [*conditions.chosen(subject.prompts, args.curves)] if args.curves else []
    about = {**facts, "settings": _digest(args, curves, subject, facts)}
    _refuse_other(folder, about["settings"], args.overwrite)
    refuse_unwritable(folder)
    recorder = Recorder(subject, curves, args.steps)
    recorder.run()
    root = data_root(tuner.cfg)
    paths = [Path(item.impath).relative_to(root).as_posix() for item in subject.items]
    results = recorder.results(about, tuner.dm.dataset.classnames, paths)
    if args.part == "test" and args.limit is None:
        _few_shot(results, recorder, args, tuner)
    results.pictures = choose(results, args.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(subject, results.pictures, folder)
    results.about |= {"forward passes": subject.passes, "seconds": round(time.time() - started, 1)}
    made_with = environment(tuner.device)
    results.about["made with"] = ", ".join(f"{name} {value}" for name, value in made_with.items() if value is not None)
    results.write(folder)
    print_report(results, folder)


def _configuration(args: argparse.Namespace, seed: int) -> CfgNode:
    """The configuration of a ZeroShot run, which builds data set, backbone and encoder."""
    own = {"dataset_config_file": args.dataset} if is_path(args.dataset) else {"dataset": args.dataset}
    opts = [*args.opts, *(["TEST.SPLIT", "all"] if args.part == "all" else [])]
    return build_cfg(Choice("ZeroShot", args.backbone, shots=args.shots, seed=seed, root=args.root, opts=opts, **own))


def _subject(args: argparse.Namespace, tuner: Tuner) -> tuple[Subject, dict[str, Any]]:
    """What is measured, and facts about it for readers."""
    backbone, dataset = tuner.backbone, tuner.dm.dataset
    patches = _patches(tuner)
    with torch.no_grad():
        found = texts.frozen_texts(tuner.method, args.texts) | texts.tuned_texts(
            args.bundle, dataset.classnames, backbone
        )
    items = _spread(dataset.test, args.limit)
    prompts = conditions.conditions_of(backbone, patches)
    prompts = conditions.chosen(prompts, args.conditions)
    lesions = _lesions(args.masks, tuner, items)
    facts = {
        "data set": _name(args.dataset),
        "backbone": backbone.name,
        "weights": backbone.digest,
        "images": len(items),
        "images with a lesion": sum(bool(mask.any()) for mask in lesions.values()),
        "images without a lesion": sum(not mask.any() for mask in lesions.values()),
        "images without a mask": len(items) - len(lesions),
        "part": args.part,
        "texts": ", ".join(found),
    }
    return Subject.of(tuner.encoder, items, lesions, prompts, found), facts


def _lesions(folder: str, tuner: Tuner, items: Sequence[Datum]) -> dict[str, torch.Tensor]:
    """What the image tower sees of the masks of those images that have one, by path."""
    cfg, reader = tuner.cfg, build_image_reader(tuner.cfg)
    found = Masks(tuner.dm.dataset, [item.impath for item in items], reader, data_root(cfg), folder)
    lesions = {}
    for item in tqdm(items, desc="reading masks", unit="image", delay=2):
        mask = found.mask(item.impath, reader(item.impath))
        if mask is not None:
            lesions[item.impath] = seen(mask, tuple(cfg.INPUT.SIZE))
    return lesions


def _few_shot(results: Results, recorder: Recorder, args: argparse.Namespace, tuner: Tuner) -> None:
    """Add the few-shot accuracy of each condition: one number per draw of the training images."""
    subject = recorder.subject
    truth = torch.tensor([item.label for item in subject.items])
    for seed in tqdm(args.seeds, desc="few-shot accuracy", unit="draw", delay=2):
        drawn = build_dataset(_configuration(args, seed))
        for name, (_, prompt) in subject.prompts.items():
            features, labels = tuner.encoder.images(drawn.train_x, prompt, f"training images, {name}")
            tested = torch.cat(recorder.features[name])
            accuracy = nearest_class_means(features.cpu(), labels.cpu(), tested.cpu(), truth)
            results.outcomes[name].few_shot.append(accuracy)


def _patches(tuner: Tuner) -> int:
    """The number of patches of the image tower."""
    backbone = tuner.backbone
    blank = torch.zeros(1, 3, backbone.image_size, backbone.image_size, device=tuner.device)
    return encode(backbone, blank, None, {}, torch.zeros(1, dtype=torch.long))["seen"].numel()


def _spread(items: Sequence[Datum], limit: int | None) -> Sequence[Datum]:
    """At most so many images, at equal distances in the list, which is ordered by class."""
    count = min(limit or len(items), len(items))
    return [items[k * len(items) // count] for k in range(count)]


def _name(dataset: str) -> str:
    return dataset_name(dataset) if is_path(dataset) else dataset


def _digest(args: argparse.Namespace, curves: Sequence[str], subject: Subject, facts: dict[str, Any]) -> str:
    """Identifies a measurement: two with the same digest have the same numbers."""
    identity = {
        **facts,
        "text features": subject.digest_of_texts(),
        "conditions": list(subject.prompts),
        "options": [curves, args.steps, args.shots, args.seeds, args.limit, args.pictures],
        "masks": hashlib.sha256(b"".join(mask.numpy().tobytes() for mask in subject.lesions.values())).hexdigest(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _refuse_other(folder: Path, settings: str, overwrite: bool) -> None:
    """An InputError where the folder has the results of another measurement."""
    if overwrite or not (folder / FILE).is_file():
        return
    if read_results(folder).about.get("settings") != settings:
        raise InputError(
            f"'{folder}' holds another measurement; name another folder with --output, or replace it with --overwrite"
        )
