"""``python -m harmonizer``."""

import sys

from harmonizer.cli import main

sys.exit(main())
