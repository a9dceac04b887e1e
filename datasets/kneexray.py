from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class KneeXray(FolderDataset):
    """Knee osteoarthritis X-rays by Kellgren-Lawrence grade; official split 5,778 / 826 / 1,656.

    The classes are in the order of the official split file.
    """

    folder = "KneeXray"
    prompts = "kneexray"
    drive_id = "1DBVraYJmxy2UcQ_nGLYvTB2reITOm453"
    in_paper = True
    classes = (
        "healthy knee",
        "doubtful osteoarthritis",
        "minimal osteoarthritis",
        "moderate osteoarthritis",
        "severe osteoarthritis",
    )
