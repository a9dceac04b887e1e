"""Small archives for the tests of downloads."""

import zipfile

OFFICIAL = {
    "BUSI/BUSI/benign_tumor/a.png": "pixels",
    "BUSI/BUSI/malignant_tumor/b.png": "pixels",
    "BUSI/BUSI/normal_scan/c.png": "pixels",
}
SPLIT = {
    "train": [],
    "val": [],
    "test": [
        ["benign_tumor/a.png", 0, "benign tumor"],
        ["malignant_tumor/b.png", 1, "malignant tumor"],
        ["normal_scan/c.png", 2, "normal scan"],
    ],
}


def make_zip(path, files):
    """Write a .zip archive with these files, by name, and return its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
