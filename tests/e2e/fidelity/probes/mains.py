"""The usage of each module that `python -m` can run."""

import concurrent.futures
import json
import re
import subprocess
import sys

NAMES = """
ast asyncio.tools base64 binhex calendar cgi code compileall cProfile dis doctest ensurepip
filecmp fileinput ftplib gzip http.server imghdr inspect json.tool lib2to3 mailcap
mimetypes pdb pickle pickletools platform poplib profile pstats py_compile pyclbr pydoc quopri
runpy sndhdr site sqlite3 symtable tabnanny tarfile timeit tokenize trace turtledemo unittest uu
venv webbrowser xml.sax zipapp zipfile zipimport missing_module
"""
# Without a terminal and without input.
ARGUMENTS = (["--help"], ["--no-such-option"])
# Times, addresses and paths of temporary files.
VARYING = re.compile(r"0x[0-9a-f]+|\d+\.\d+ (sec|usec|nsec|msec)|/tmp/\S+")


def run(job):
    name, arguments = job
    argv = [sys.executable, "-B", "-m", name, *arguments]
    done = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=99
    )
    said = (done.stdout + done.stderr).replace(sys.prefix, "<prefix>")
    lines = [VARYING.sub("*", line) for line in said.splitlines()]
    return [done.returncode, *lines]


jobs = [(name, arguments) for name in NAMES.split() for arguments in ARGUMENTS]
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    answers = pool.map(run, jobs)
    print(json.dumps({" ".join([name, *words]): a for (name, words), a in zip(jobs, answers)}))
