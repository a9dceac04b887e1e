"""Small archives for the tests of downloads."""

import zipfile

OFFICIAL = {
    "BUSI/BUSI/benign_tumor/a.png": "pixels",
    "BUSI/BUSI/malignant_tumor/b.png": "pixels",
    "BUSI/BUSI/normal_scan/c.png": "pixels",
}
LUNG_IMAGES = {
    "colon_image_sets/colon_aca/a.jpeg": "pixels",
    "colon_image_sets/colon_n/a.jpeg": "pixels",
    "lung_image_sets/lung_aca/a.jpeg": "pixels",
    "lung_image_sets/lung_n/a.jpeg": "pixels",
    "lung_image_sets/lung_scc/a.jpeg": "pixels",
}


def make_zip(path, files):
    """Write a .zip archive with these files, by name, and return its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
