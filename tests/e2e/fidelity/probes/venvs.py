"""Paths of the interpreters in each kind of virtual environment."""

import json
import os
import subprocess
import sys
import tempfile

CODE = """
import json, os, site, sys, sysconfig
print(json.dumps({
    "prefixes": [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix],
    "executables": [sys.executable, sys._base_executable],
    "path": sys.path,
    "site": [site.ENABLE_USER_SITE, site.USER_BASE, site.USER_SITE],
    "paths": sysconfig.get_paths(),
    "types": [type(site.USER_BASE).__name__, type(site.USER_SITE).__name__],
    "home": open(os.path.join(sys.prefix, "pyvenv.cfg")).read().splitlines(),
}))
"""
KINDS = ([], ["--copies"], ["--system-site-packages"], ["--symlinks", "--prompt", "it"])


def make_venv(options):
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "env")
        argv = [sys.executable, "-m", "venv", "--without-pip", *options, place]
        subprocess.run(argv, check=True)
        files = sorted(
            os.path.relpath(os.path.join(top, name), place)
            for top, folders, names in os.walk(place)
            for name in names
        )
        links = {name: os.readlink(os.path.join(place, name)) for name in files
                 if os.path.islink(os.path.join(place, name))}  # fmt: skip
        python = os.path.join(place, "bin/python")
        out = subprocess.run(
            [python, "-c", CODE], capture_output=True, text=True, check=True
        ).stdout
        said = json.loads(out.replace(folder, "<folder>"))
        plain = subprocess.run(
            [python, "-c", "import sys; print(sys.prefix != sys.base_prefix)"],
            capture_output=True, text=True, check=True, cwd=place,
        ).stdout  # fmt: skip
        return {"files": files, "links": links, "said": said, "plain": plain}


print(json.dumps({" ".join(options) or "plain": make_venv(options) for options in KINDS}))
