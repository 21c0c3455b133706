"""``python -m rezbuild``."""

from __future__ import annotations

import sys

from rezbuild.cli.main import main

sys.exit(main())
