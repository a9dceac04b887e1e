from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class BTMRI(FolderDataset):
    """Brain tumour magnetic resonance images; official split 2,854 / 1,141 / 1,717.

    The classes are in the order of the official split file.
    """

    folder = "BTMRI"
    prompts = "btmri"
    drive_id = "1_lJLZRUmczqZqoN-dNqkAzGzmi4ONoU5"
    archive_size = "112 MB"
    source = "https://www.kaggle.com/datasets/masoudnickparvar/brain-tumor-mri-dataset"
    other_folders = {
        "glioma": "glioma tumor",
        "meningioma": "meningioma tumor",
        "pituitary": "pituitary tumor",
        "notumor": "normal brain",
        "no_tumor": "normal brain",
    }
    in_paper = True
    classes = (
        "glioma tumor",
        "meningioma tumor",
        "pituitary tumor",
        "normal brain",
    )
