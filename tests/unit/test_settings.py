"""REZBUILD_* variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.errors import UsageError
from rezbuild.settings import Settings, host_label, version_variable


def test_settings_have_defaults():
    settings = Settings.read({})
    assert settings.cache.name == "rezbuild"
    assert (settings.mirrors, settings.offline, settings.jobs) == ((), False, None)
    assert settings.profile is None
    assert (settings.scheduler, settings.step_timeout) == (None, None)


def test_settings_read_values(tmp_path):
    settings = Settings.read(
        {
            "REZBUILD_CACHE": str(tmp_path),
            "REZBUILD_MIRRORS": "'/mnt/my mirror' https://mirror.invalid/x",
            "REZBUILD_OFFLINE": "yes",
            "REZBUILD_JOBS": "7",
            "REZBUILD_PROFILE": "optimized",
            "REZBUILD_RETRIES": "0",
            "REZBUILD_READ_TIMEOUT": "2.5",
            "REZBUILD_STEP_TIMEOUT": "3600",
            "REZBUILD_SCHEDULER": "tcp://farm:8786",
            "REZBUILD_HOST_LABEL": "debian12",
            "REZBUILD_FARM_TIMEOUT": "600",
            "REZBUILD_FARM_CA": str(tmp_path / "ca.pem"),
        }
    )
    assert settings.cache == Path(tmp_path)
    assert settings.mirrors == ("/mnt/my mirror", "https://mirror.invalid/x")
    assert settings.offline
    assert (settings.jobs, settings.retries, settings.read_timeout) == (7, 0, 2.5)
    assert settings.profile == "optimized"
    assert settings.step_timeout == 3600
    assert (settings.scheduler, settings.host) == ("tcp://farm:8786", "debian12")
    assert (settings.farm_timeout, Settings.read({}).farm_timeout) == (600, 300)
    assert (settings.farm_ca, settings.farm_key) == (tmp_path / "ca.pem", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REZBUILD_OFFLINE", "perhaps"),
        ("REZBUILD_JOBS", "0"),
        ("REZBUILD_JOBS", "many"),
        ("REZBUILD_JOBS", "-2"),
        ("REZBUILD_RETRIES", "1.5"),
        ("REZBUILD_CONNECT_TIMEOUT", "0"),
        ("REZBUILD_CONNECT_TIMEOUT", "nan"),
        ("REZBUILD_READ_TIMEOUT", "soon"),
        ("REZBUILD_STEP_TIMEOUT", "0"),
        ("REZBUILD_PROFILE", "fastest"),
        ("REZBUILD_MIRRORS", "'open quote"),
        ("REZBUILD_GLIBC_MAX", "two"),
        ("REZBUILD_GLIBC_MAX", "2.28.1"),
    ],
)
def test_invalid_value_is_named(name, value):
    with pytest.raises(UsageError, match=name) as caught:
        Settings.read({name: value})
    assert caught.value.advice
    assert caught.value.exit_code == 2


def test_version_variable_has_the_package_name():
    assert version_variable("lib-x") == "REZBUILD_LIB_X_VERSION"


@pytest.mark.parametrize(
    ("value", "meant"),
    [("", None), ("0", None), ("1", "ccache"), ("/opt/c c/ccache", "/opt/c c/ccache")],
)
def test_ccache_is_a_switch_or_a_path(value, meant):
    assert Settings.read({"REZBUILD_CCACHE": value}).ccache == meant
    with pytest.raises(UsageError, match="neither on nor off"):
        Settings.read({"REZBUILD_CCACHE": "perhaps"})


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian12"),
        ('NAME="Rocky Linux"\nVERSION_ID="8.10"\nID="rocky"\n', "rocky8"),
        ('ID="opensuse-leap"\nVERSION_ID=15.6\n', "opensuse-leap15"),
        ("ID=ubuntu\nVERSION_ID='22.04'\n", "ubuntu22.04"),
        ("ID=arch\n", "arch"),
        ("# nothing\n", "linux"),
        ('ID="a b"\n', "linux"),
        (None, "linux"),
    ],
)
def test_host_label_is_distribution_and_version(tmp_path, text, label):
    file = tmp_path / "os-release"
    if text is not None:
        file.write_text(text)
    assert host_label({}, file) == label
    assert host_label({"REZBUILD_HOST_LABEL": " box-1 "}, file) == "box-1"


@pytest.mark.parametrize("label", ["a b", "/", "-x", "a:b", "x" * 65])
def test_invalid_label_is_refused(label):
    with pytest.raises(UsageError, match="REZBUILD_HOST_LABEL"):
        Settings.read({"REZBUILD_HOST_LABEL": label})


def test_old_names_of_settings_work_and_new_ones_override_them():
    old = {"REZBUILD_SILENCE_TIMEOUT": "7", "REZBUILD_FARM_PATIENCE": "8"}
    assert (Settings.read(old).read_timeout, Settings.read(old).farm_timeout) == (7, 8)
    assert Settings.read({**old, "REZBUILD_READ_TIMEOUT": "9"}).read_timeout == 9
