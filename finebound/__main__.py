"""``python -m finebound``."""

import sys

from finebound.cli import main

sys.exit(main())
