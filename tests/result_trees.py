"""Writes small trees of results."""

from runs.results import write_results
from sweep.plan import run_for

CPU = {"python": "3.11", "torch": "2.14.1", "device": "cpu", "git_commit": "0123456789abcdef", "git_changed_files": 0}
GPU = {**CPU, "device": "Some GPU"}


def numbers(accuracy, macro_f1=None, ece=5.0):
    return {
        "accuracy": accuracy, "macro_f1": accuracy - 1 if macro_f1 is None else macro_f1, "ece": ece, "auroc": None,
        "sensitivity": {"a": accuracy},
    }  # fmt: skip


def few_shot(output, dataset, method, shots, seed, accuracy, backbone="Tiny", fold=0, **more):
    """Write a complete few-shot run; returns its folder."""
    run = run_for("few_shot", dataset, backbone, method, shots, seed, fold)
    return _write(output, run, {"all": numbers(accuracy)}, more)


def base2new(output, dataset, method, seed, base, new, backbone="Tiny", shots=16, fold=0, **more):
    """Write a complete base-to-new run; returns its folder."""
    run = run_for("base2new", dataset, backbone, method, shots, seed, fold)
    return _write(output, run, {"base": numbers(base), "new": numbers(new)}, more)


def _write(output, run, metrics, more):
    folder = run.folder(output)
    folder.mkdir(parents=True)
    results = {
        **run.as_dict(), "variant": "clean", "metrics": metrics, "trainable_parameters": 512,
        "seconds": {"build": 6.0, "train_and_test": 30.0, "runs_in_stack": 1}, "environment": CPU, **more,
    }  # fmt: skip
    write_results(folder, results)
    return folder
