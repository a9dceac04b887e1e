"""Measure what the method claims: python -m evidence COMMAND."""

import sys
from functools import partial

from dassl.commands import commands_parser, run_command

build_parser = partial(commands_parser, "evidence", __doc__)
main = partial(run_command, "evidence", __doc__)

if __name__ == "__main__":
    sys.exit(main())
