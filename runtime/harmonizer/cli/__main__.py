"""``python -m harmonizer.cli``."""

import sys

from harmonizer.cli import main

sys.exit(main())
