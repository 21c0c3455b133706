"""Keeps pip's hands off a payload that many share: PEP 668, for old versions of pip too."""

import base64
import csv
import hashlib

from rezbuild.errors import BuildError

MARKER = """\
[externally-managed]
Error=This Python is a Rez package: whoever resolves it shares these files, so nothing is
 installed into them.

 For Rez environments, make it a Rez package:
     rez-pip --install NAME
 For yourself, in a virtual environment:
     python3 -m venv DIR
     DIR/bin/pip install NAME
"""
# What pip does itself from 23.0.1 on.
GUARD = '''\
"""Refuses what PEP 668 forbids; pip does so itself from 23.0.1 on."""

import configparser
import os
import sysconfig

from pip._internal.exceptions import CommandError
from pip._internal.utils.virtualenv import running_under_virtualenv


def check():
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if running_under_virtualenv() or not os.path.isfile(marker):
        return
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(marker, encoding="utf-8")
    message = parser.get("externally-managed", "Error", fallback="it is managed by other means")
    raise CommandError("externally-managed-environment: " + message)
'''
IMPORT = "from pip._internal.utils.externally_managed import check as _check_externally_managed\n"
# The line of each command before which it may refuse, and when it does.
COMMANDS = {
    "install": (
        "        if options.use_user_site and options.target_dir is not None:\n",
        """\
        if not (options.target_dir or options.prefix_path or options.root_path):
            _check_externally_managed()
""",
    ),
    "uninstall": (
        "        session = self.get_default_session(options)\n",
        "        _check_externally_managed()\n",
    ),
}


def fix(lib):
    """Writes the marker, and teaches the installed pip to heed it.

    Raises:
        BuildError: The installed pip is not as it is known.
    """
    (lib / "EXTERNALLY-MANAGED").write_text(MARKER)
    site = lib / "site-packages"
    if "check_externally_managed" in (site / "pip/_internal/utils/misc.py").read_text():
        return
    changed = {site / "pip/_internal/utils/externally_managed.py": GUARD}
    for command, (line, guard) in COMMANDS.items():
        path = site / f"pip/_internal/commands/{command}.py"
        text = path.read_text()
        imports = text.find("from pip.")
        if text.count(line) != 1 or imports < 0:
            raise BuildError(f"{path} is not as it is known: PEP 668 cannot be put into it")
        text = text.replace(line, guard + line)
        changed[path] = text[:imports] + IMPORT + text[imports:]
    for path, text in changed.items():
        path.write_text(text)
    _record(site, changed)


def _record(site, changed):
    """The sums of the changed files in pip's list of its files."""
    (record,) = site.glob("pip-*.dist-info/RECORD")
    with record.open(newline="") as stream:
        rows = {row[0]: row for row in csv.reader(stream)}
    for path in changed:
        name, data = str(path.relative_to(site)), path.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows[name] = [name, f"sha256={digest}", str(len(data))]
    with record.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows.values())
