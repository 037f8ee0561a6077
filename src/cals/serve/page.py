"""The OpenAPI page: the routes and their fields as plain HTML, which loads nothing from elsewhere."""

from dataclasses import fields
from html import escape
from typing import Any, get_args, get_type_hints

from cals.media.output import CONTAINERS
from cals.options import EncodeOptions, GenerateOptions
from cals.serve.dub import LIST_FIELDS, SEGMENT_SUFFIXES
from cals.serve.folders import UPLOADS, VOICES
from cals.serve.requests import FIELDS

_PATH = "a path below the folder of inputs"
_DESCRIPTIONS = {
    "face": f"Video or picture: a file, or {_PATH}",
    "audio": f"What is heard, and drives the mouth: a file, or {_PATH}. A dub whose voices are mixed has none",
    "voice": f"The speech alone, where audio is a mix: a file, or {_PATH}",
    "pose": f"Video whose head a photo is held like: a file, or {_PATH}",
    "segments": f"Who says what when, for a dub: {' or '.join(SEGMENT_SUFFIXES)}, a file, or {_PATH}",
    VOICES: f"Voices of the segments, which these find by name or number: files, or each {_PATH}, also a folder",
    "speak": "PERSON=NAME: what a person says from the first frame on, the name one of the voices or a path",
    "cast": "NAME=PERSON: who in the video is behind a name in the segments",
    "from": "Start of the only part that is changed, seconds or HH:MM:SS.mmm",
    "to": "End of that part",
    "report": "Keep what happened to every frame",
}
_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number"}
_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color-scheme: light dark }
h2 { font-size: 1.1em; margin: 2em 0 0 } code { font-size: 1em } td { padding: 0 1em 0 0; vertical-align: top }
"""


def build_request_schema() -> dict[str, Any]:
    """Build the OpenAPI description of the body of a job, from the options' own types and defaults."""
    properties = {name: _describe_field(name) for name in FIELDS}
    paths = {name: {"type": "string", "description": _DESCRIPTIONS[name]} for name in UPLOADS}
    paths[VOICES] = _describe_list(VOICES, {"type": "string"})
    schema = {"type": "object", "required": ["face"], "additionalProperties": False}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": schema | {"properties": properties}},
                "application/json": {"schema": schema | {"properties": properties | paths}},
            },
        },
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same request, no second job is made",
                "schema": {"type": "string", "maxLength": 200},
            }
        ],
    }


def _describe_field(name: str) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    if name in UPLOADS:
        return file | {"description": _DESCRIPTIONS[name]}
    if name in LIST_FIELDS:
        return _describe_list(name, file if name == VOICES else {"type": "string"})
    if name in ("from", "to"):
        return {"type": "string", "description": _DESCRIPTIONS[name]}
    if name == "format":
        formats = [suffix.removeprefix(".") for suffix in CONTAINERS]
        return {"type": "string", "enum": formats, "default": "mp4"}
    if name == "report":
        return {"type": "boolean", "default": False, "description": _DESCRIPTIONS[name]}
    kind = GenerateOptions if name in {field.name for field in fields(GenerateOptions)} else EncodeOptions
    hint, default = get_type_hints(kind)[name], getattr(kind(), name)
    options = get_args(hint)
    if options and all(isinstance(option, str) for option in options):
        return {"type": "string", "enum": list(options), "default": default}
    kinds: list[Any] = [option for option in options or (hint,) if option is not type(None)]
    schema: dict[str, Any] = {"type": "string" if str in kinds else _TYPES[kinds[0]]}
    return schema if default is None else schema | {"default": default}


def _describe_list(name: str, items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": f"{_DESCRIPTIONS[name]}; may be there several times"}


def render_page(openapi: dict[str, Any]) -> str:
    """Render an OpenAPI document as HTML."""
    info = openapi["info"]
    parts = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"]
    parts.append('<p>Machines read <a href="openapi.json">openapi.json</a>.')
    parts.append("Send the header <code>Authorization: Bearer TOKEN</code>.</p>")
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(route.get('description', ''))}</p>{_render_fields(route)}")
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _render_fields(route: dict[str, Any]) -> str:
    rows = [(item["name"], item["schema"], item.get("description", "")) for item in route.get("parameters", [])]
    content = route.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if content is not None:
        properties = content["schema"]["properties"]
        rows += [(name, schema, schema.get("description", "")) for name, schema in properties.items()]
    lines = [
        f"<tr><td><code>{escape(name)}</code><td>{escape(_describe_type(schema))}<td>{escape(text)}"
        for name, schema, text in rows
    ]
    return f"<table>{''.join(lines)}</table>" if lines else ""


def _describe_type(schema: dict[str, Any]) -> str:
    kind = " | ".join(schema["enum"]) if "enum" in schema else str(schema.get("type", "string"))
    return f"{kind}, default {schema['default']}" if "default" in schema else kind
