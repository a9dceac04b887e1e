"""Work with a tuned model: python -m biomed_dpt COMMAND BUNDLE."""

import sys
from functools import partial

from dassl.commands import commands_parser, run_command

build_parser = partial(commands_parser, "biomed_dpt", __doc__)
main = partial(run_command, "biomed_dpt", __doc__)

if __name__ == "__main__":
    sys.exit(main())
