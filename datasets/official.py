"""The digests of the published split files, by which a split is known to be official.

Each is `Split.digest` of the file of that name; the file of OCTMNIST could not be had, so its split is not known.
"""

DIGESTS = {
    "df1758133b88": "split_BTMRI.json",
    "8dab6d39cc8f": "split_BUSI.json",
    "31e2c871b0cf": "split_CHMNIST.json",
    "c7e7fe0f41e0": "split_COVID_19.json",
    "fa8b5d2b8976": "split_CTKidney.json",
    "04f36faf18e4": "split_DermaMNIST.json",
    "f56a1a93b46f": "split_KneeXray.json",
    "0f69fd837122": "split_Kvasir.json",
    "776bc2d5704e": "split_LungColon.json",
    "53a2a4b569da": "split_RETINA.json",
}
