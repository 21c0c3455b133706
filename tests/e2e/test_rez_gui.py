"""The package view of rez-gui, with the real Rez and Qt on a display without a screen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from host_tools import require_tool
from inspection import venv
from sample_packages import Samples
from studio import Studio

pytestmark = [pytest.mark.e2e, pytest.mark.matrix]

# The widgets of the tabs "summary", "help" and "tools". Help is found in a thread.
VIEW = """\
import json, os, sys, time
from rez.packages import get_latest_package
from rez.resolved_context import ResolvedContext
from rezgui.objects.App import app
from rezgui.models.ContextModel import ContextModel
from rezgui.widgets.VariantHelpWidget import HelpEntryWidget, VariantHelpWidget
from rezgui.widgets.VariantSummaryWidget import VariantSummaryWidget
from rezgui.widgets.VariantToolsList import VariantToolsList

context = ContextModel(ResolvedContext(sys.argv[1:]))
variant = next(get_latest_package(sys.argv[1]).iter_variants())
summary, links = VariantSummaryWidget(), VariantHelpWidget(context)
tools = VariantToolsList(context)
for widget in (summary, links, tools):
    widget.set_variant(variant)
end = time.monotonic() + 30
while not links.table_2.rowCount() and time.monotonic() < end:
    app.processEvents()
rows = summary.table
found = {
    "summary": {
        rows.verticalHeaderItem(i).text(): rows.item(i, 0).text() for i in range(rows.rowCount())
    },
    "help": [one.help_.sections[one.index] for one in links.table_2.findChildren(HelpEntryWidget)],
    "tools": sorted(tools.tool_widgets),
}
print(json.dumps(found), flush=True)
os._exit(0)  # rez-gui's threads would keep the process alive
"""


def test_package_view_shows_description_links_and_tools(
    studio: Studio, samples: Samples, scratch: Path, tmp_path: Path
):
    require_tool("libEGL.so.1", "libGL.so.1", "libxkbcommon.so.0", "libdbus-1.so.3")
    # With PySide6, rez-gui adds the help of a package in the wrong thread, and shows none.
    needs = ["rez>=3.3", "PyQt5", "Qt.py"]
    python = venv(Path(sys.executable), scratch / "rez-gui", needs) / "python"
    studio.rezbuild("build", "top")
    view = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    out = studio.run(python, "-c", VIEW, "top", **view).stdout
    found = json.loads(out.splitlines()[-1])
    assert found["summary"]["description: "].startswith("TLS and cryptography")
    assert found["summary"]["authors: "] == "OpenSSL project"
    assert found["help"]
    assert all(url.startswith("https://") for _, url in found["help"])
    assert found["tools"] == ["top"]
