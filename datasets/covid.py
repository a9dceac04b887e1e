from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset


@DATASET_REGISTRY.register()
class COVID_19(FolderDataset):
    """COVID-19 radiography database, chest X-rays; official split 10,582 / 4,232 / 6,351.

    The classes are in the order of the official split file.
    """

    folder = "COVID_19"
    prompts = "covid"
    drive_id = "1zMLN5q5e_tmH-deSZQiY4Xq0M1EqCrML"
    archive_size = "779 MB"
    source = "https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database"
    other_folders = {
        "COVID": "covid lungs",
        "Lung_Opacity": "lung opacity lungs",
        "Viral Pneumonia": "viral pneumonia lungs",
        "Normal": "normal lungs",
    }
    in_paper = True
    classes = (
        "covid lungs",
        "lung opacity lungs",
        "viral pneumonia lungs",
        "normal lungs",
    )
