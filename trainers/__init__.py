"""The methods, one file each; importing this package registers them."""

from dassl.discovery import import_modules

import_modules(__name__, {"register_method"})
