from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class RETINA(FolderDataset):
    """Eye disease fundus photographs; official split 2,108 / 841 / 1,268.

    The classes are in the order of the official split file.
    """

    folder = "RETINA"
    prompts = "retina"
    drive_id = "18U-Gc22h5QryomNNzY4r4Qfrq52yf5EO"
    source = "https://www.kaggle.com/datasets/gunavenkatdoddi/eye-diseases-classification"
    other_folders = {
        "normal": "normal retina",
    }
    in_paper = True
    classes = (
        "diabetic retinopathy",
        "glaucoma",
        "cataract",
        "normal retina",
    )
