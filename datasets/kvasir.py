from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class Kvasir(FolderDataset):
    """Gastrointestinal endoscopy images (Kvasir v2); official split 2,000 / 800 / 1,200.

    The classes are in the order of the official split file.
    """

    folder = "Kvasir"
    prompts = "kvasir"
    drive_id = "1T_cqnNIjmGazNeg6gziarvCNWGsFEkRi"
    source = "https://www.kaggle.com/datasets/abdallahwagih/kvasir-dataset-for-classification-and-segmentation"
    in_paper = True
    classes = (
        "dyed lifted polyps",
        "dyed resection margins",
        "esophagitis",
        "normal cecum",
        "normal pylorus",
        "normal z line",
        "polyps",
        "ulcerative colitis",
    )
