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
    archive_size = "181 MB"
    source = "https://www.kaggle.com/datasets/shashwatwork/knee-osteoarthritis-dataset-with-severity"
    other_folders = {
        "0": "healthy knee",
        "1": "doubtful osteoarthritis",
        "2": "minimal osteoarthritis",
        "3": "moderate osteoarthritis",
        "4": "severe osteoarthritis",
    }
    in_paper = True
    classes = (
        "healthy knee",
        "doubtful osteoarthritis",
        "minimal osteoarthritis",
        "moderate osteoarthritis",
        "severe osteoarthritis",
    )
