"""What all runs of a sweep share, and the command line of one of them."""

from dataclasses import dataclass
from pathlib import Path

from runs.imports import import_file
from runs.run import Run


@dataclass(frozen=True)
class Options:
    """What all runs of a sweep share.

    Attributes:
        output: root of all run folders.
        root: the data root; "" for the default.
        published: follow the official code where it differs from the paper.
        opts: KEY VALUE pairs.
        imports: Python files with the user's own trainers and data sets.
        dataset_files: name and yaml file of each data set that was given as a path.
        folds: of the cross-validation; 0 for none.
    """

    output: Path
    root: str = ""
    published: bool = False
    opts: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    dataset_files: tuple[tuple[str, str], ...] = ()
    folds: int = 0

    def command(self, run: Run) -> list[str]:
        """The run as arguments of train.py."""
        dataset = dict(self.dataset_files).get(run.dataset, run.dataset)
        command = ["--trainer", run.method, "--backbone", run.backbone, "--dataset", dataset]
        for path in self.imports:
            command += ["--import", path]
        command += ["--root", self.root] if self.root else []
        command += ["--published"] if self.published else []
        command += ["--accept-unread"] if self.opts else []
        command += ["--protocol", run.protocol, "--shots", str(run.shots or 1), "--seed", str(run.seed)]
        folds = ["DATASET.FOLDS", str(self.folds), "DATASET.FOLD", str(run.fold)] if run.fold else []
        return [*command, "--output-dir", str(run.folder(self.output)), *folds, *self.opts]

    def import_files(self) -> None:
        """Register what the user's own files define."""
        for path in self.imports:
            import_file(path)
