"""What the manifest of a file says, whether the file was changed since, and whether its signer is trusted."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cals.errors import ConfigError
from cals.files import describe_os_error
from cals.media.opening import check_file
from cals.media.tags import read_comment
from cals.provenance.key import read_user_root, read_user_serial
from cals.provenance.library import build_context, require_c2pa
from cals.provenance.manifest import ASSERTION

State = Literal["intact", "changed", "invalid", "none"]
Trust = Literal["own", "trusted", "unknown"]
_STATES = {
    "intact": "intact, as it was when it was signed",
    "changed": "changed since it was signed",
    "invalid": "its manifest is not valid",
    "none": "no manifest",
}
_TRUST = {
    "own": "the key of this computer's user",
    "trusted": "trusted, by the certificates given",
    "unknown": "not trusted: anybody can make such a key, so the signature only tells that nothing was changed",
}


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """An input that had a manifest of its own."""

    title: str
    software: str
    is_intact: bool
    """Whether it was as signed when it was used."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of `verify_file`."""

    path: Path
    state: State
    problems: tuple[str, ...] = ()
    software: str = ""
    """Program that made the manifest, with its version."""
    source_type: str = ""
    """IPTC digital source type."""
    actions: tuple[str, ...] = ()
    """What was done, in the manifest's words."""
    generation: dict[str, Any] = field(default_factory=dict)
    """Our own part: software, model, frames, and role and sha256 of each input; empty for other software."""
    ingredients: tuple[Ingredient, ...] = ()
    signer: str = ""
    """Name in the signer's certificate."""
    trust: Trust | None = None
    note: str = ""
    """The note in the metadata; where the file is intact it is part of what was signed."""

    @property
    def is_intact(self) -> bool:
        return self.state == "intact"

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON document."""
        return {"format": 1} | asdict(self) | {"path": str(self.path)}

    def text(self) -> str:
        """Return the result as lines of text."""
        made = self.generation
        lines = [f"{self.path}: {_STATES[self.state]}", *(f"problem     {problem}" for problem in self.problems)]
        lines += [f"what        {action}" for action in self.actions]
        if self.source_type:
            lines.append(f"source type {self.source_type.rpartition('/')[2]}")
        if self.software:
            lines.append(f"made by     {self.software}")
        if made:
            lines.append(f"model       {made.get('model')} {made.get('model_fingerprint')}")
            lines += [f"from        {item.get('role')}, sha256 {item.get('sha256')}" for item in made.get("inputs", [])]
        for item in self.ingredients:
            state = "intact" if item.is_intact else "not intact"
            lines.append(f"ingredient  {item.title}, {state} when it was used, by {item.software}")
        if self.trust is not None:
            lines.append(f"signed by   {self.signer}: {_TRUST[self.trust]}")
        if self.note and not self.is_intact:
            lines.append(f"note        {self.note} (anybody can have written that)")
        return "\n".join(lines)


def verify_file(path: str | Path, trust: str | Path | None = None) -> Verification:
    """Verify the manifest of any file that C2PA knows; `trust` are root certificates to trust, PEM.

    A file without a manifest has the state `none`, and one whose manifest or container is damaged `invalid`.
    Raises MediaError for a file that cannot be read, ConfigError where the library or the certificates are missing.
    """
    path = Path(path)
    check_file(path)
    library = require_c2pa("verify")
    anchors = read_user_root() + _read_anchors(trust)
    note = read_comment(path)
    with path.open("rb") as file:
        try:
            reader = library.Reader.try_create(file, context=build_context(library, anchors))
        except library.C2paError.NotSupported:
            problem = "this kind of file cannot hold one that is known here"
            return Verification(path=path, state="none", problems=(problem,), note=note)
        except library.C2paError as error:
            return Verification(path=path, state="invalid", problems=(str(error),), note=note)
        if reader is None:
            return Verification(path=path, state="none", note=note)
        with reader:
            return _describe(path, json.loads(reader.json()), note)


def _read_anchors(path: str | Path | None) -> str:
    """Read certificates to trust."""
    if path is None:
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"trust: expected certificates as PEM, found {path}: {describe_os_error(error)}") from error
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigError(f"trust: expected certificates as PEM, found none in {path}")
    return text


def _describe(path: Path, document: dict[str, Any], note: str) -> Verification:
    active = document["active_manifest"]
    manifest = document["manifests"][active]
    results = document.get("validation_results", {}).get("activeManifest", {})
    failures = [item for item in results.get("failure", []) if item["code"] != "signingCredential.untrusted"]
    state: State = "intact"
    if document.get("validation_state") == "Invalid" or failures:
        state = "changed" if any("mismatch" in item["code"] for item in failures) else "invalid"
    data = {item["label"]: item["data"] for item in manifest.get("assertions", [])}
    actions: list[dict[str, Any]] = next(
        (value["actions"] for label, value in data.items() if label.startswith("c2pa.actions")), []
    )
    signature = manifest.get("signature_info", {})
    return Verification(
        path=path,
        state=state,
        problems=tuple(f"{item['code']}: {item.get('explanation', '')}" for item in failures),
        software=_name_software(manifest),
        source_type=next((item["digitalSourceType"] for item in actions if "digitalSourceType" in item), ""),
        actions=tuple(item.get("description") or item["action"] for item in actions),
        generation=data.get(ASSERTION, {}),
        ingredients=tuple(_describe_ingredient(item, document) for item in manifest.get("ingredients", [])),
        signer=signature.get("common_name") or signature.get("issuer", ""),
        trust=_judge_trust(document, signature),
        note=note,
    )


def _judge_trust(document: dict[str, Any], signature: dict[str, Any]) -> Trust:
    if document.get("validation_state") != "Trusted":
        return "unknown"
    # A certificate with the number of the user's own that leads to one of the trusted roots is the user's own.
    return "own" if signature.get("cert_serial_number") == read_user_serial() else "trusted"


def _name_software(manifest: dict[str, Any]) -> str:
    names = manifest.get("claim_generator_info") or [{"name": manifest.get("claim_generator", "")}]
    return " ".join(str(names[0][key]) for key in ("name", "version") if names[0].get(key))


def _describe_ingredient(item: dict[str, Any], document: dict[str, Any]) -> Ingredient:
    manifest = document["manifests"].get(item.get("active_manifest"), {})
    failures = item.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    return Ingredient(
        title=item.get("title", ""),
        software=_name_software(manifest),
        is_intact=all(failure["code"] == "signingCredential.untrusted" for failure in failures),
    )
