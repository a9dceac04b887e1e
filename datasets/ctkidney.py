from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class CTKidney(FolderDataset):
    """Kidney computed tomography slices; official split 6,221 / 2,487 / 3,738.

    The classes are in the order of the official split file.
    """

    folder = "CTKidney"
    prompts = "ctkidney"
    drive_id = "1PBZ299k--mZL8JU7nhC1Wy8yEmlqmVDh"
    archive_size = "1.63 GB"
    source = "https://www.kaggle.com/datasets/nazmul0087/ct-kidney-dataset-normal-cyst-tumor-and-stone"
    other_folders = {
        "Cyst": "cyst kidney",
        "Stone": "kidney stone",
        "Tumor": "kidney tumor",
        "Normal": "normal kidney",
    }
    in_paper = True
    classes = (
        "cyst kidney",
        "kidney stone",
        "kidney tumor",
        "normal kidney",
    )
