from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class OCTMNIST(FolderDataset):
    """Retinal optical coherence tomography (MedMNIST); official split 97,477 / 10,832 / 1,000.

    The classes are in MedMNIST's order. The official split file could not be read, so this order is not verified.
    """

    folder = "OCTMNIST"
    prompts = "octmnist"
    drive_id = "1mYZNWxbPxnnVvcwHQYybA8gdMzQAoOem"
    licence = "CC BY 4.0"
    source = "https://medmnist.com"
    in_paper = True
    classes = (
        "choroidal neovascularization",
        "diabetic macular edema",
        "drusen",
        "normal OCT scan",
    )
