"""The steps of a recipe, and the environment they run in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import dump_environment
import pytest
from compile_c import MAIN
from host_tools import command_lines
from polling import wait_until

from rezbuild.build import toolchain
from rezbuild.build.recipe_api import Build
from rezbuild.elf import reader
from rezbuild.errors import BuildError, MachineError
from rezbuild.payload.dependency import Dependency
from rezbuild.settings import Settings


@pytest.fixture
def build(tmp_path) -> Build:
    for name in ("source", "dest", "logs", "home"):
        (tmp_path / name).mkdir()
    tools = toolchain.find(Settings.read({}))
    return Build(
        name="thing",
        version="1.2.3",
        recipe=tmp_path,
        source=tmp_path / "source",
        destdir=tmp_path / "dest",
        logs=tmp_path / "logs",
        profile="fast",
        jobs=3,
        env=toolchain.environment(tools, tmp_path / "home", 1234567890),
        dependencies={"low": Dependency("low", "1.0", tmp_path / "low")},
        tools=tools,
    )


def test_steps_are_logged_by_number(build, capfd):
    build.run("echo", "hello")
    build.run("sh", "-c", "pwd; echo to stderr >&2")
    assert sorted(path.name for path in build.logs.iterdir()) == ["01-echo-hello.log", "02-sh.log"]
    log = (build.logs / "02-sh.log").read_text()
    assert log.splitlines()[1:] == [str(build.source), "to stderr"]
    assert "01-echo-hello ..." in capfd.readouterr().out


def test_configure_script_gets_the_placeholder_prefix_first(build):
    script = build.source / "unix/configure"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "$@" "$MORE" "$(pwd)"\n')
    script.chmod(0o755)
    build.configure("--disable-doc", folder="unix", env={"MORE": "more"})
    log = (build.logs / "01-configure.log").read_text()
    assert log.splitlines()[1] == f"--prefix={build.prefix} --disable-doc more {script.parent}"


def test_c_language_of_a_recipe_overrides_the_compiler(build):
    """gnu2x is C23 in gcc 12; the option sets an older standard, as for gcc 15."""
    (build.source / "old.c").write_text("#if __STDC_VERSION__ > 201710L\n#error too new\n#endif\n")
    # configure writes the compiler with its own standard, then the flags.
    compiler = (build.env["CC"], "-std=gnu2x")
    with pytest.raises(BuildError, match="too new"):
        build.run(*compiler, *build.env["CFLAGS"].split(), "-c", "old.c")
    build.language("gnu17")
    build.run(*compiler, *build.env["CFLAGS"].split(), "-c", "old.c")
    assert (build.source / "old.o").is_file()


def test_failed_step_shows_its_last_lines_and_its_log(build):
    with pytest.raises(BuildError) as caught:
        build.run("sh", "-c", "seq 1 100; exit 3")
    message = str(caught.value)
    assert "exit code 3" in message
    assert str(build.logs / "01-sh.log") in message
    assert "    100" in message
    assert "    70\n" not in message
    assert caught.value.exit_code == 7


def test_killed_step_is_reported(build):
    with pytest.raises(BuildError, match="killed by signal 9"):
        build.run("sh", "-c", "kill -9 $$")


def test_step_ends_at_the_timeout_with_its_children(build):
    build.limit = 0.5
    # A child, an orphan, and a process in a new session.
    script = "sleep 3333.5 & (sleep 3333.6 &) ; setsid sleep 3333.7 & echo said; wait"
    began = time.monotonic()
    with pytest.raises(BuildError, match=r"longer than REZBUILD_STEP_TIMEOUT, 0.5 s") as raised:
        build.run("sh", "-c", script)
    assert time.monotonic() - began < 5
    assert "    said" in raised.value.message
    # A killed process may run for some more milliseconds.
    wait_until(lambda: not any(line.startswith("sleep 3333.") for line in command_lines().values()))
    build.run("sh", "-c", "exit 0")


def test_missing_program_is_named(build):
    with pytest.raises(BuildError, match="no-such-program cannot be started"):
        build.run("no-such-program")


def test_make_gets_the_jobs_and_install_the_destdir(build):
    (build.source / "Makefile").write_text(
        "all:\n\techo $(MAKEFLAGS) >made\ninstall:\n\tmkdir -p $(DESTDIR)/x\n"
    )
    build.make()
    build.install()
    assert "-j3" in (build.source / "made").read_text()
    assert (build.destdir / "x").is_dir()


def test_caller_environment_does_not_reach_a_step(build, tmp_path):
    """This process has a poisoned environment."""
    poison = ("LD_LIBRARY_PATH", "CFLAGS", "CPATH", "PYTHONHOME", "MAKEFLAGS", "LD_PRELOAD_X")
    env = {**os.environ, **dict.fromkeys(poison[:3] + poison[4:], "poison")}
    subprocess.run(
        [sys.executable, str(dump_environment.__file__), str(tmp_path / "out")],
        env=env,
        check=True,
    )
    seen = (tmp_path / "out/env.txt").read_text()
    assert "poison" not in seen
    assert "SOURCE_DATE_EPOCH=7\n" in seen


def test_pkg_config_searches_the_system_but_not_usr_local(build):
    argv = ["pkg-config", "--variable=pc_path", "pkg-config"]
    env = {"PATH": toolchain.SYSTEM_PATH}
    default = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
    expected = [name for name in default.strip().split(":") if "/usr/local/" not in name]
    assert expected
    assert build.env["PKG_CONFIG_LIBDIR"].split(":") == expected


def test_dependencies_are_searched_before_the_host(build, tmp_path):
    (tmp_path / "low/include").mkdir(parents=True)
    (tmp_path / "low/lib").mkdir()
    build.flags(LDFLAGS="-Wl,-z,defs")
    build.search_dependencies()
    assert build.env["CPPFLAGS"] == f"-I{tmp_path}/low/include"
    flags = f"-L{tmp_path}/low/lib {toolchain.LINK_FLAGS} -Wl,-z,defs"
    assert build.env["LDFLAGS"] == flags
    assert build.env["PKG_CONFIG_PATH"] == f"{tmp_path}/low/lib/pkgconfig"


def test_unused_libraries_are_not_linked(build, compile_c):
    """gcc omits unused libraries by the option; clang would link them."""
    flags = ("-Wl,--no-as-needed", *build.env["LDFLAGS"].split())
    assert reader.read(compile_c("main", MAIN, *flags, "-lm")).needed == ("libc.so.6",)


def test_unresolved_dependency_is_an_error(build):
    assert build.dependency("low").version == "1.0"
    with pytest.raises(BuildError, match="high is not in the resolve of"):
        build.dependency("high")


def test_remove_takes_patterns(build):
    lib = build.payload / "lib"
    (lib / "deep/tests").mkdir(parents=True)
    (lib / "a.a").write_text("")
    (lib / "b.so").write_text("")
    (lib / "link").symlink_to("deep")
    build.remove("lib/*.a", "lib/**/tests", "lib/link", "lib/nothing*")
    assert sorted(path.name for path in lib.iterdir()) == ["b.so", "deep"]
    assert list((lib / "deep").iterdir()) == []


def test_build_has_its_attributes(build):
    assert (build.prefix, build.series, build.optimized) == ("/rezbuild/thing-1.2.3", (1, 2), False)
    assert build.payload == build.destdir / "rezbuild/thing-1.2.3"


def test_make_runs_the_given_jobs():
    settings = Settings.read({"REZBUILD_JOBS": "5"})
    assert toolchain.jobs(settings, {"REZ_BUILD_THREAD_COUNT": "9"}) == 5
    assert toolchain.jobs(Settings.read({}), {"REZ_BUILD_THREAD_COUNT": "9"}) == 9
    assert toolchain.jobs(Settings.read({}), {}) == len(os.sched_getaffinity(0))


def test_missing_compiler_is_named():
    with pytest.raises(MachineError, match="no compiler '/opt/none/gcc'"):
        toolchain.find(Settings.read({"REZBUILD_CC": "/opt/none/gcc"}))


@pytest.mark.parametrize(
    ("description", "compiler"),
    [
        ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", ("gcc", 12)),
        ("gcc-13 (Debian 13.3.0-16) 13.3.0", ("gcc", 13)),
        ("gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-28)", ("gcc", 8)),
        ("Debian clang version 19.1.7 (3~deb12u1)", ("clang", 19)),
        ("clang version 21.1.0", ("clang", 21)),
        ("a compiler of its own", ("gcc", 0)),
    ],
)
def test_compiler_and_its_version_are_read_from_its_description(description, compiler):
    tools = toolchain.Toolchain("cc", "c++", description, "x86_64-linux-gnu")
    assert tools.compiler == compiler


def test_old_patchelf_is_refused():
    version = toolchain.patchelf_version(toolchain.patchelf())
    assert version >= toolchain.PATCHELF_MINIMUM
    assert toolchain.patchelf_version("/bin/true") == ()
    assert toolchain.patchelf_version("/no/such/patchelf") == ()


def test_describe_writes_a_pc_file(build, tmp_path):
    build.describe("low", "-llow", "Nothing much", private="-lm")
    folder = build.payload / "lib/pkgconfig"
    env = {"PKG_CONFIG_PATH": str(folder), "PATH": toolchain.SYSTEM_PATH}
    ask = ["pkg-config", "--define-prefix", "--static", "--libs", f"low = {build.version}"]
    said = subprocess.run(ask, env=env, capture_output=True, text=True, check=True).stdout
    assert said.split() == [f"-L{build.payload}/lib", "-llow", "-lm"]


def compilers(folder: Path, *names: str) -> Path:
    """Link the system's compilers into another folder."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(f"/usr/bin/{name.split('-')[0]}")
    return folder


def test_compiler_folder_comes_first_on_path(tmp_path):
    folder = compilers(tmp_path / "toolset", "gcc-99", "g++-99", "g++")
    tools = toolchain.find(Settings.read({"REZBUILD_CC": f"{folder}/gcc-99"}))
    assert (tools.cc, tools.cxx) == ("gcc-99", "g++-99")
    assert tools.path == f"{folder}:{toolchain.SYSTEM_PATH}"
    assert toolchain.environment(tools, tmp_path, 0)["PATH"] == tools.path


def test_compiler_name_in_two_folders_is_resolved(tmp_path):
    """PATH finds only the first program of a name."""
    one = compilers(tmp_path / "one", "gcc", "g++")
    two = compilers(tmp_path / "two", "g++")
    chosen = {"REZBUILD_CC": f"{one}/gcc", "REZBUILD_CXX": f"{two}/g++"}
    tools = toolchain.find(Settings.read(chosen))
    assert (tools.cc, tools.cxx) == ("gcc", f"{two}/g++")
    assert tools.path == f"{one}:{two}:{toolchain.SYSTEM_PATH}"


def test_folder_without_a_cxx_compiler_uses_that_of_the_system(tmp_path):
    folder = compilers(tmp_path / "toolset", "gcc")
    assert toolchain.find(Settings.read({"REZBUILD_CC": f"{folder}/gcc"})).cxx == "g++"


def test_compiler_in_a_system_folder_keeps_its_path():
    tools = toolchain.find(Settings.read({"REZBUILD_CC": "/usr/bin/gcc"}))
    assert (tools.cc, tools.cxx) == ("/usr/bin/gcc", "/usr/bin/g++")
    assert tools.path == toolchain.SYSTEM_PATH
