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
    archive_size = "193 MB"
    source = "https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset"
    other_folders = {
        "benign": "benign tumor",
        "malignant": "malignant tumor",
        "normal": "normal scan",
    }
    in_paper = True
    classes = (
        "benign tumor",
        "malignant tumor",
        "normal scan",
    )
