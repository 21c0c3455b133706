"""Rez settings for these packages. Add this file to REZ_CONFIG_FILE.

Rez reads the files of REZ_CONFIG_FILE, separated by ':'; a later file overrides an earlier one. The
recipes do not need these settings. This file sets no repositories: use REZ_LOCAL_PACKAGES_PATH,
REZ_RELEASE_PACKAGES_PATH and REZ_PACKAGES_PATH.
"""

# Rez's own build process deletes the installed package when a build fails. rezbuild's process
# "staged" replaces the package only after a successful build and audit. Hosts without rezbuild,
# e.g. those of artists, keep Rez's default.
if __import__("importlib.util").util.find_spec("rezbuild"):
    default_build_process = "staged"

# Packages state the glibc that they need, e.g. ".glibc-2.34+". With the glibc of this host in each
# request, Rez refuses packages that cannot run here. Other systems have no glibc.
if __import__("platform").libc_ver()[0] == "glibc":
    implicit_packages = ModifyList(  # noqa: F821 (Rez defines it)
        append=[".glibc==" + __import__("platform").libc_ver()[1]]
    )

# Without a limit, the first release would contain the changelog of the whole git repository.
max_package_changelog_chars = 16384
max_package_changelog_revisions = 10

plugins = {
    "release_vcs": {
        # One git repository holds many packages, so the tag contains the name, e.g. zlib-1.3.1.
        "tag_name": "{qualified_name}",
    },
}
