from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class DermaMNIST(FolderDataset):
    """Dermatoscopy of pigmented skin lesions (MedMNIST, HAM10000); official split 7,006 / 1,003 / 2,005.

    The classes are in the order of the official split file.
    """

    folder = "DermaMNIST"
    prompts = "dermamnist"
    drive_id = "1Jxd1-DWljunRDZ8fY80dl5zUMefriQXt"
    archive_size = "675 MB"
    licence = "CC BY-NC 4.0"
    source = "https://medmnist.com"
    in_paper = True
    classes = (
        "actinic keratosis",
        "basal cell carcinoma",
        "benign keratosis",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevus",
        "vascular lesion",
    )
