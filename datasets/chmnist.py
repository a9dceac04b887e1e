from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class CHMNIST(FolderDataset):
    """Colorectal cancer histology tiles (Kather et al. 2016); official split 2,496 / 1,000 / 1,504.

    The classes are in the order of the official split file.
    """

    folder = "CHMNIST"
    prompts = "chmnist"
    drive_id = "1tyQiYQmqAGNaY4SCK_8U5vEbbaa1AD-g"
    archive_size = "251 MB"
    source = "https://www.kaggle.com/datasets/kmader/colorectal-histology-mnist"
    other_folders = {
        "01_TUMOR": "tumour epithelium",
        "02_STROMA": "simple stroma",
        "03_COMPLEX": "complex stroma",
        "04_LYMPHO": "immune cells",
        "05_DEBRIS": "debris",
        "06_MUCOSA": "normal mucosal glands",
        "07_ADIPOSE": "adipose tissue",
        "08_EMPTY": "empty background",
    }
    in_paper = True
    classes = (
        "adipose tissue",
        "complex stroma",
        "debris",
        "empty background",
        "immune cells",
        "normal mucosal glands",
        "simple stroma",
        "tumour epithelium",
    )
