"""Small tools under upstream's names."""

from dassl.utils.logger import *  # noqa: F403
from dassl.utils.meters import *  # noqa: F403
from dassl.utils.registry import Registry  # noqa: F401
from dassl.utils.tools import *  # noqa: F403
from dassl.utils.torchtools import *  # noqa: F403
