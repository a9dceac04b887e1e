"""The data sets; importing this package registers them."""

from dassl.discovery import import_modules

import_modules(__name__, {"DATASET_REGISTRY.register"})
