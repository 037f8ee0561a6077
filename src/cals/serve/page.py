"""The OpenAPI page: the routes and their fields as plain HTML, which loads nothing from elsewhere."""

from dataclasses import fields
from html import escape
from typing import Any, get_args, get_type_hints

from cals.media.output import CONTAINERS
from cals.options import EncodeOptions, GenerateOptions
from cals.serve.folders import UPLOADS
from cals.serve.requests import FIELDS

_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number"}
_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color-scheme: light dark }
h2 { font-size: 1.1em; margin: 2em 0 0 } code { font-size: 1em } td { padding: 0 1em 0 0; vertical-align: top }
"""


def build_request_schema() -> dict[str, Any]:
    """Build the OpenAPI description of the body of a job, from the options' own types and defaults."""
    properties = {name: _describe_field(name) for name in FIELDS}
    paths = {name: {"type": "string", "description": "A path below the server's folder of inputs"} for name in UPLOADS}
    schema = {"type": "object", "required": ["face", "audio"], "additionalProperties": False}
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
    if name in UPLOADS:
        return {"type": "string", "format": "binary", "description": "A file, or a path below the folder of inputs"}
    if name == "format":
        formats = [suffix.removeprefix(".") for suffix in CONTAINERS]
        return {"type": "string", "enum": formats, "default": "mp4"}
    if name == "report":
        return {"type": "boolean", "default": False, "description": "Keep what happened to every frame"}
    kind = GenerateOptions if name in {field.name for field in fields(GenerateOptions)} else EncodeOptions
    hint, default = get_type_hints(kind)[name], getattr(kind(), name)
    options = get_args(hint)
    if options and all(isinstance(option, str) for option in options):
        return {"type": "string", "enum": list(options), "default": default}
    kinds: list[Any] = [option for option in options or (hint,) if option is not type(None)]
    schema: dict[str, Any] = {"type": "string" if str in kinds else _TYPES[kinds[0]]}
    return schema if default is None else schema | {"default": default}


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
