"""What is in a release and what made it, as software bills of materials list it: CycloneDX 1.6 in JSON. Imports no torch.

https://cyclonedx.org/docs/1.6/json/. Written by hand: the format is data, and what is needed of it is little.
"""

from __future__ import annotations

import uuid
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.modeling.release import WEIGHTS, Release
from tasks.modeling.signing import model_uri

_PYTHON = "python"
_LONGEST = 100
"""Characters of a licence's name; some packages give the whole text there."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class _Hash(_Part):
    alg: Literal["SHA-256"] = "SHA-256"
    content: str


class _NamedLicense(_Part):
    name: str


class _License(_Part):
    """One of the two."""

    expression: str | None = None
    """SPDX."""
    license: _NamedLicense | None = None


class _Component(_Part):
    type: Literal["file", "library", "platform", "machine-learning-model"]
    ref: str = Field(alias="bom-ref")
    name: str
    version: str | None = None
    hashes: list[_Hash] | None = None
    licenses: list[_License] | None = None
    purl: str | None = None


class _Metadata(_Part):
    component: _Component


class _Dependency(_Part):
    ref: str
    depends_on: list[str] = Field(alias="dependsOn")


class _Bill(_Part):
    schema_: str = Field("http://cyclonedx.org/schema/bom-1.6.schema.json", alias="$schema")
    bom_format: Literal["CycloneDX"] = Field("CycloneDX", alias="bomFormat")
    spec_version: Literal["1.6"] = Field("1.6", alias="specVersion")
    serial_number: str = Field(alias="serialNumber")
    version: int = 1
    metadata: _Metadata
    components: list[_Component]
    dependencies: list[_Dependency]


def bill_of_materials(release: Release) -> str:
    """The bill of a release: every file on its list by sha256, and the libraries that made the model by version and licence.

    The same release gives the same text, but for licences: they are known of what is installed here in that version.
    """
    model = model_uri(release.name, release.version)
    parts = [
        *(_Component(type="file", ref=f"file:{name}", name=name, hashes=[_Hash(content=release.files[name])])
          for name in sorted(release.files)),
        *(_library(name, version) for name, version in sorted(release.lineage.environment.items())),
    ]  # fmt: skip
    weights = [_Hash(content=release.files[WEIGHTS])]
    itself = _Component(
        type="machine-learning-model", ref=model, name=release.name, version=release.version, hashes=weights
    )
    bill = _Bill(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{model}#{release.model_sha256}").urn,
        metadata=_Metadata(component=itself),
        components=parts,
        dependencies=[_Dependency(ref=model, depends_on=[part.ref for part in parts])],
    )
    return bill.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"


def _library(name: str, version: str) -> _Component:
    if name == _PYTHON:
        return _Component(type="platform", ref=f"{name}@{version}", name=name, version=version)
    package_url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    try:
        found = metadata(name)
    except PackageNotFoundError:
        licences = None
    else:
        licences = _licences(found) if found["Version"] == version else None
    return _Component(type="library", ref=package_url, name=name, version=version, licenses=licences, purl=package_url)


def _licences(package: PackageMetadata) -> list[_License] | None:
    """As an SPDX expression, else as the package names it, else by its classifiers; None: it does not say."""
    if "License-Expression" in package:
        return [_License(expression=package["License-Expression"])]
    named = package["License"].strip() if "License" in package else ""
    classified = [
        classifier.rpartition(" :: ")[2]
        for classifier in package.get_all("Classifier") or ()
        if classifier.startswith("License :: ")
    ]
    names = [named] if named and len(named) <= _LONGEST and "\n" not in named else classified
    return [_License(license=_NamedLicense(name=name)) for name in names] or None
