"""What is in a release and what made it, as software bills of materials list it: CycloneDX 1.6 in JSON. Imports no torch.

https://cyclonedx.org/docs/1.6/json/. Written by hand: the format is data, and what is needed of it is little.
"""

from __future__ import annotations

import json
import uuid
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from typing import Any

from tasks.modeling.release import WEIGHTS, Release
from tasks.modeling.signing import model_uri

_PYTHON = "python"
_LONGEST = 100
"""Characters of a licence's name; some packages give the whole text there."""


def bill_of_materials(release: Release) -> str:
    """The bill of a release: every file on its list by sha256, and the libraries that made the model by version and licence.

    The same release gives the same text, but for licences: they are known of what is installed here in that version.
    """
    model = model_uri(release.name, release.version)
    files = [_file(name, sha256) for name, sha256 in sorted(release.files.items())]
    libraries = [_library(name, version) for name, version in sorted(release.lineage.environment.items())]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{model}#{release.model_sha256}").urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "machine-learning-model",
                "bom-ref": model,
                "name": release.name,
                "version": release.version,
                "hashes": _hashes(release.files[WEIGHTS]),
            }
        },
        "components": [*files, *libraries],
        "dependencies": [{"ref": model, "dependsOn": [part["bom-ref"] for part in (*files, *libraries)]}],
    }
    return json.dumps(bill, indent=1, ensure_ascii=False) + "\n"


def _file(name: str, sha256: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(sha256)}


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _library(name: str, version: str) -> dict[str, Any]:
    if name == _PYTHON:
        return {"type": "platform", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    package_url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    part = {"type": "library", "bom-ref": package_url, "name": name, "version": version, "purl": package_url}
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return part
    licences = _licences(found) if found["Version"] == version else None
    return part | ({"licenses": licences} if licences else {})


def _licences(package: PackageMetadata) -> list[dict[str, Any]] | None:
    """As an SPDX expression, else as the package names it, else by its classifiers; None: it does not say."""
    if "License-Expression" in package:
        return [{"expression": package["License-Expression"]}]
    named = package["License"].strip() if "License" in package else ""
    classified = [
        classifier.rpartition(" :: ")[2]
        for classifier in package.get_all("Classifier") or ()
        if classifier.startswith("License :: ")
    ]
    names = [named] if named and len(named) <= _LONGEST and "\n" not in named else classified
    return [{"license": {"name": name}} for name in names] or None
