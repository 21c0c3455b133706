"""``python -m rezbuild``."""

from __future__ import annotations

import sys

from rezbuild.cli import main

sys.exit(main())
