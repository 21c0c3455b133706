"""Rez settings that go well with these packages; use it by REZ_CONFIG_FILE, alone or beside yours.

Rez reads several files, separated by ':'; a later one goes first. Nothing here is needed by the
recipes. Repositories stay what Rez or your studio says: see REZ_LOCAL_PACKAGES_PATH and others.
"""

# Rez's own build process deletes what is installed when a build of it fails; this one, which comes
# with rezbuild, replaces it by what is complete and tested. Where rezbuild is not installed, as on
# an artist's host, it is not chosen.
if __import__("importlib.util").util.find_spec("rezbuild"):
    default_build_process = "staged"

# A first release would otherwise carry the whole repository's history.
max_package_changelog_chars = 16384
max_package_changelog_revisions = 10

plugins = {
    "release_vcs": {
        # Many packages in one repository of code: a tag says which one it is for.
        "tag_name": "{qualified_name}",
    },
}
