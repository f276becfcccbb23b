"""The dependencies of the core are a budget, and the lock covers them."""

import importlib.util
import itertools
import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DIRECT, TRANSITIVE = 15, 60
NEVER = {"lightning", "pytorch-lightning", "httpx"}
BY_PLATFORM = ("nvidia-", "cuda-", "triton")
"""What PyTorch alone needs on some platforms, for its GPU kernels."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def closure(requirements):
    """Names of everything that these requirements install here, from the metadata of what is installed."""
    found, waiting = {}, [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if found.get(name, set()) >= extras:
            continue
        found[name] = found.get(name, set()) | extras
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # For another platform.
        for text in needs:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(need)
    return set(found)


@pytest.fixture(scope="module")
def locked():
    """Each locked name with its requirement line and hashes."""
    text = (ROOT / "constraints" / "locked.txt").read_text()
    blocks = re.findall(r"^([a-z0-9][^\s=]*)==(\S+)([^\n]*(?:\n    [^\n]*)*)", text, re.MULTILINE)
    return [(canonicalize_name(name), version, rest) for name, version, rest in blocks]


def test_the_core_has_few_dependencies(project):
    names = closure(project["dependencies"])
    own = {name for name in names if not name.startswith(BY_PLATFORM)}
    assert len(project["dependencies"]) <= DIRECT
    assert 30 < len(own) <= TRANSITIVE, sorted(own)
    assert not names & NEVER


def test_every_dependency_is_bounded_on_both_sides(project):
    for text in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        operators = {part.operator for part in Requirement(text).specifier}
        assert ">=" in operators and "<" in operators, text


def test_the_lock_covers_what_the_tests_need_with_hashes(project, locked):
    names = {name for name, _, _ in locked}
    extras = project["optional-dependencies"]
    needed = closure([*project["dependencies"], *extras["data"], *extras["dev"]])
    assert {name for name in needed if not name.startswith(BY_PLATFORM)} <= names
    assert {"hatchling", "torch", "pytest", "mlxtend"} <= names
    for name, _, rest in locked:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name


def test_the_locked_versions_are_those_that_are_allowed(project, locked):
    allowed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    versions = {}
    for name, version, _ in locked:
        versions.setdefault(name, set()).add(version)
    for text in allowed:
        requirement = Requirement(text)
        for version in versions[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, text


def test_the_lock_names_no_place():
    text = (ROOT / "constraints" / "locked.txt").read_text()
    assert "://" not in text and "file:" not in text and " @ " not in text and "--index" not in text


@pytest.fixture(scope="module")
def verdict():
    spec = importlib.util.spec_from_file_location("audit", ROOT / "constraints" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.verdict


def test_an_audit_says_what_it_did_not_check(verdict):
    good, other = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    bad = {"name": "c", "version": "2", "vulns": [{"id": "CVE-1"}]}
    assert verdict(json.dumps({"dependencies": [good, good]})) == (
        0,
        "audit: 2 packages checked, no known vulnerability",
    )
    code, words = verdict(json.dumps({"dependencies": [good, other]}))
    assert code == 3 and "1 of 2" in words and "weren't checked" in words
    code, words = verdict(json.dumps({"dependencies": [good, bad, other]}))
    assert code == 1 and "c 2: CVE-1" in words
    for nothing in ("", "Traceback", "[]", "{}"):
        code, words = verdict(nothing)
        assert code == 3 and "nothing was checked" in words
