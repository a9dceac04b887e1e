from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class BUSI(FolderDataset):
    """Breast ultrasound images; official split 389 / 155 / 236.

    The classes are in the order of the official split file.
    """

    folder = "BUSI"
    prompts = "busi"
    drive_id = "1hB5M7wcAUTV9EtiYrijACoQ36R6VmQaa"
    in_paper = True
    classes = (
        "benign tumor",
        "malignant tumor",
        "normal scan",
    )
