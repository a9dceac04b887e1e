from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class LungColon(FolderDataset):
    """Lung and colon histopathology tiles (LC25000); official split 12,500 / 5,000 / 7,500.

    The classes are in the order of the official split file.
    """

    folder = "LungColon"
    prompts = "lungcolon"
    drive_id = "1YIu5fqMXgyemisiL1L1HCvES2nVpCtun"
    source = "https://www.kaggle.com/datasets/andrewmvd/lung-and-colon-cancer-histopathological-images"
    other_folders = {
        "colon_aca": "colon adenocarcinoma",
        "colon_n": "colon benign tissue",
        "lung_aca": "lung adenocarcinoma",
        "lung_n": "lung benign tissue",
        "lung_scc": "lung squamous cell carcinoma",
    }
    in_paper = True
    classes = (
        "colon adenocarcinoma",
        "colon benign tissue",
        "lung adenocarcinoma",
        "lung benign tissue",
        "lung squamous cell carcinoma",
    )
