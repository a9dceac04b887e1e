"""Train and test one run.

python train.py --trainer BiomedDPT                      the embedded default: phantom data, Tiny backbone
python train.py --trainer BiomedDPT --dataset btmri --root DATA --backbone BiomedCLIP --shots 16 --seed 1
python train.py --trainer CoOp_BiomedCLIP --dataset busi --root DATA --protocol base2new
python train.py --trainer CoOp … --eval-only --model-dir OUTPUT/…/seed1
python train.py --trainer BiomedDPT … TRAINER.BIOMEDDPT.L1_LAMBDA 20.0 OPTIM.MAX_EPOCH 50
"""

import argparse
import contextlib
import difflib
import json
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dassl.errors import InputError, exit_code

try:
    from sweep.run import MARKER, RESULTS_FILE, Run, is_complete, read_results, write_results
except ModuleNotFoundError as error:
    hint = "install requirements.txt, or activate what the scripts made: source .venv/bin/activate"
    print(f"error: {error}; {hint}", file=sys.stderr)
    sys.exit(2)

PROJECT = Path(__file__).resolve().parent
PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "numpy", "scipy", "scikit-learn")
# Settings that may differ between a stored run and its continuation: they do not change the numbers.
WITHOUT_EFFECT = {"OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATASET.ROOT", "TRAIN.PRINT_FREQ"}
WITHOUT_EFFECT |= {"DATALOADER.NUM_WORKERS"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--trainer", required=True, metavar="METHOD", help="a method, or METHOD_BACKBONE")
    add("--backbone", help="Tiny (default), BiomedCLIP …")
    add("--dataset", help="a name of configs/datasets/ (default: phantom)")
    add("--root", default="", help="the data root: the folder that holds BTMRI/, BUSI/ … (default: data/ here)")
    add("--shots", type=int, default=16, help="training images per class (default: 16)")
    add("--seed", type=int, default=1, help="(default: 1)")
    add("--protocol", default="few_shot", help="few_shot (default) or base2new")
    add(
        "--published",
        action="store_true",
        help="behave as the official code where it departs from the paper",
    )
    add("--output-dir", default="", help="the run's folder (default: one below output/, by what the run is)")
    add("--overwrite", action="store_true", help="run again from the start what lies in the output folder")
    add("--dataset-config-file", default="", help="a yaml file instead of configs/datasets/<dataset>.yaml")
    add("--config-file", default="", help="a yaml file instead of those in configs/trainers/<method>/")
    add("--eval-only", action="store_true", help="test a trained model")
    add("--model-dir", default="", help="folder of the trained model, for --eval-only")
    add("--load-epoch", type=int, help="the model after this many epochs, for --eval-only")
    add("--no-train", action="store_true", help="build everything, train nothing")
    add("opts", nargs="*", metavar="KEY VALUE", help="settings by their configuration keys")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for bad input."""
    args = parse_args(argv)
    return exit_code(lambda: run(args), "the same command goes on from the last finished epoch")


def run(args: argparse.Namespace) -> None:
    """One run from arguments to result files; a complete one is not repeated."""
    from configs import Choice, build_cfg  # torch and the model libraries load here, after the arguments were read

    if args.shots < 1:
        raise InputError(f"--shots {args.shots}: at least 1 image per class is needed")
    given = {name: getattr(args, name) for name in ("backbone", "dataset") if getattr(args, name)}
    choice = Choice(
        trainer=args.trainer,
        protocol=args.protocol,
        shots=args.shots,
        seed=args.seed,
        root=args.root,
        published=args.published,
        dataset_config_file=args.dataset_config_file,
        config_file=args.config_file,
        opts=args.opts,
        **given,
    )
    if not given and not args.root and not args.dataset_config_file and "_" not in args.trainer:
        print("Embedded default: phantom data on the Tiny backbone (see --dataset, --root, --backbone)")
    cfg = build_cfg(choice)
    dataset = Path(args.dataset_config_file).stem if args.dataset_config_file else choice.dataset
    # From the configuration, not from the flags: CoOp-style command lines set these as KEY VALUE pairs.
    backbone, shots, seed = cfg.MODEL.BACKBONE.NAME, cfg.DATASET.NUM_SHOTS, cfg.SEED
    this = Run(choice.protocol, dataset, backbone, choice.trainer, shots, seed)
    if args.eval_only:
        evaluate(cfg, args)
        return
    folder = (
        Path(args.output_dir)
        if args.output_dir
        else this.folder("output" if not args.published else "output_published")
    )
    if args.overwrite and folder.is_dir():
        _clear(folder)
    cfg = _with_folder(cfg, folder)
    _refuse_other_settings(cfg, folder)
    if is_complete(folder):
        results = read_results(folder)
        print(f"complete already: {this}\n{headline(results)}\nin '{folder}'; --overwrite runs it again")
        return
    train(cfg, this, folder, args.no_train)


def check_names(method: str, backbone: str, dataset: str) -> None:
    """Refuse unknown names before anything is started."""
    from configs import Choice

    Choice(method, backbone=backbone, dataset=dataset)


def train(cfg, this: Run, folder: Path, no_train: bool) -> None:
    """Train, test and write log.txt, config.yaml, model.pth, results.json and the marker."""
    from dassl.engine import build_trainer
    from dassl.utils import collect_env_info, set_random_seed

    started = time.time()
    with _logged(folder):
        (folder / "config.yaml").write_text(cfg.dump())
        print(f"{this}\n{collect_env_info()}")
        set_random_seed(max(cfg.SEED, 0))
        trainer = build_trainer(cfg)
        print(f"learned parameters: {trainer.learned_parameters:,}")
        built = time.time()
        if no_train:
            return
        if trainer.learned_parameters:
            trainer.train()
        else:
            trainer.evaluate()
        results = {
            **this.as_dict(),
            "variant": "published" if cfg.PUBLISHED else "clean",
            "metrics": with_harmonic_mean(trainer.evaluation),
            "learned_parameters": trainer.learned_parameters,
            "split": trainer.dm.dataset.split and trainer.dm.dataset.split.about(),
            "loss_per_epoch": _epoch_means(trainer.history["train/loss"], cfg.OPTIM.MAX_EPOCH),
            "seconds": {"build": round(built - started, 2), "train_and_test": round(time.time() - built, 2)},
            "environment": environment(trainer.device),
        }
        (folder / "checkpoint.pth").unlink(missing_ok=True)
        write_results(folder, results)
        print(f"{headline(results)}\ntook {timedelta(seconds=round(time.time() - started))}; results in '{folder}'")


def evaluate(cfg, args: argparse.Namespace) -> None:
    """Test a stored model; prints, writes nothing."""
    from dassl.engine import build_trainer

    trainer = build_trainer(cfg)
    if trainer.learned_parameters:
        if not args.model_dir:
            raise InputError("--eval-only needs --model-dir, the folder of a trained model")
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
    print(headline({"metrics": with_harmonic_mean(trainer.evaluate())}))


def with_harmonic_mean(metrics: dict[str, dict]) -> dict:
    """Metrics by the classes they are of; with base and new, also H = 2·b·n/(b + n) of their accuracies."""
    if {"base", "new"} <= metrics.keys():
        base, new = metrics["base"]["accuracy"], metrics["new"]["accuracy"]
        return {**metrics, "H": 2 * base * new / (base + new) if base + new else 0.0}
    return metrics


def headline(results: dict) -> str:
    """The accuracies in one line."""
    metrics = results["metrics"]
    if list(metrics) == ["all"]:
        return f"accuracy {metrics['all']['accuracy']:.2f} %"
    parts = [f"{name} {m['accuracy']:.2f} %" for name, m in metrics.items() if isinstance(m, dict)]
    if "H" in metrics:
        parts.append(f"H {metrics['H']:.2f} %")
    return "accuracy: " + ", ".join(parts)


def environment(device) -> dict:
    """Versions, hardware and the state of the code."""
    import torch

    def installed(name: str) -> str | None:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return {
        "python": sys.version.split()[0],
        **{name: installed(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "git_commit": git("rev-parse", "HEAD") or None,
        "git_changed_files": len(git("status", "--porcelain", "--untracked-files=no").splitlines()),
    }


@contextlib.contextmanager
def _logged(folder: Path):
    from dassl.utils.logger import restore_stdout, setup_logger

    folder.mkdir(parents=True, exist_ok=True)
    setup_logger(str(folder))
    try:
        yield
    finally:
        restore_stdout()


def _with_folder(cfg, folder: Path):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    return cfg


def _clear(folder: Path) -> None:
    """Remove a run's folder, and nothing that is not one."""
    known = (RESULTS_FILE, MARKER, "config.yaml", "log.txt")
    if not any((folder / name).exists() for name in known) and any(folder.iterdir()):
        raise InputError(f"--overwrite: '{folder}' does not look like a run's folder; it is left alone")
    shutil.rmtree(folder)


def _refuse_other_settings(cfg, folder: Path) -> None:
    """Refuse a folder whose run was made with other settings, showing the difference."""
    import yaml

    stored = folder / "config.yaml"
    started = is_complete(folder) or (folder / "checkpoint.pth").is_file()
    if not started or not stored.is_file():
        return
    old, new = _effective(yaml.safe_load(stored.read_text())), _effective(yaml.safe_load(cfg.dump()))
    if old != new:
        lines = difflib.unified_diff(old, new, "stored", "asked for", n=0, lineterm="")
        difference = "\n".join(line for line in lines if not line.startswith("@@"))
        raise InputError(
            f"'{folder}' holds a run with other settings; --overwrite replaces it, --output-dir keeps it:\n{difference}"
        )


def _effective(settings: dict, prefix: str = "") -> list[str]:
    """The settings that have an effect, one line each."""
    lines = []
    for key, value in sorted(settings.items()):
        if isinstance(value, dict):
            lines += _effective(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in WITHOUT_EFFECT:
            lines.append(f"{prefix}{key}: {json.dumps(value)}")
    return lines


def _epoch_means(history: list[tuple[int, float]], epochs: int) -> list[float]:
    values = [value for _, value in history]
    steps = len(values) // epochs
    return [round(sum(values[k : k + steps]) / steps, 6) for k in range(0, len(values), steps)] if steps else []


if __name__ == "__main__":
    sys.exit(main())
