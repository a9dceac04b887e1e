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
