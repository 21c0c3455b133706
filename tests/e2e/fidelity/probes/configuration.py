"""Values of sysconfig, and of parsers of the installed Makefile and pyconfig.h."""

import json
import sysconfig
import warnings

warnings.simplefilter("ignore")
makefile = sysconfig.get_makefile_filename()
with open(sysconfig.get_config_h_filename()) as stream:
    header = sysconfig.parse_config_h(stream)
found = {
    "variables": sysconfig.get_config_vars(),
    "pyconfig.h": header,
    "paths": {name: sysconfig.get_paths(name) for name in sysconfig.get_scheme_names()},
    "platform": sysconfig.get_platform(),
    "makefile": makefile,
}
# Differences between the variables and the Makefile of one interpreter.
try:
    from sysconfig import _parse_makefile
except ImportError:
    from sysconfig.__main__ import _parse_makefile
parsers = {"sysconfig": _parse_makefile}
try:
    from distutils.sysconfig import parse_makefile

    parsers["distutils"] = parse_makefile
except ImportError:
    pass
for name, parse in parsers.items():
    values = parse(makefile)
    found[name] = {
        key: value
        for key, value in values.items()
        if key in found["variables"] and str(found["variables"][key]) != str(value)
    }
    found[name + " names"] = sorted(values)
print(json.dumps(found))
