#!/usr/bin/env python3
"""Builds conf/readyd.schema.json from the tables of settings in the binary.

usage: config_schema.py READYD > conf/readyd.schema.json

The tables say what every setting is called and may hold; what is written here is the rest: the
frame around the probes, and how each kind of setting is spelt.
"""

import json
import re
import subprocess
import sys

ROLES = ["liveness", "readiness", "startup"]
NUMBER = r"((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)"
ADDRESS = r"(\*|localhost|[0-9]+(\.[0-9]+){3}|\[[0-9A-Fa-f:.]+\])?:[0-9]{1,5}"


def any_case(word):
    """A pattern for the word in upper and lower case; JSON Schema knows no flags."""
    return "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else re.escape(letter)
                   for letter in word)


BOOLEAN = "|".join(any_case(word) for word in ("true", "false", "yes", "no", "on", "off"))


def reference(name):
    return {"$ref": f"#/$defs/{name}"}


def one_of(*choices):
    """Any of these, or a text with a ${VARIABLE} in it, or nothing."""
    return {"anyOf": [*choices, reference("variable"), {"type": "null"}]}


def number(field, kind, pattern):
    limits = {name: field[name] for name in ("minimum", "maximum") if name in field}
    return one_of({"type": kind, **limits}, {"type": "string", "pattern": f"^{pattern}$"})


def choice(field):
    """The choices as texts, and as numbers where YAML takes them for such."""
    values = []
    for word in field["choices"]:
        values.append(word)
        if re.fullmatch(NUMBER, word):
            values.append(json.loads(word))
    return one_of({"enum": values})


def value_schema(field):
    kind = field["kind"]
    if kind == "integer":
        return number(field, "integer", r"[+-]?(0|[1-9][0-9]*)(\.0*)?")
    if kind == "number":
        return number(field, "number", r"[+-]?" + NUMBER)
    if kind == "seconds":
        field = dict(field)
        field.setdefault("minimum", 0)
        return number(field, "number", r"\+?" + NUMBER + "(ms|s|m|h)?")
    if kind == "choice":
        return choice(field)
    if kind == "boolean":
        return one_of({"type": "boolean"}, {"type": "string", "pattern": f"^({BOOLEAN})$"})
    return reference({"text": "text", "secret": "text", "texts": "texts", "command": "command",
                      "pairs": "pairs", "statuses": "statuses"}[kind])


def field_schemas(fields):
    """The properties of a table; a secret has two."""
    properties = {}
    for field in fields:
        schema = {**value_schema(field), "description": field["help"]}
        if field.get("default"):
            schema["default"] = field["default"]
        properties[field["name"]] = schema
        if field["kind"] == "secret":
            properties[field["name"] + "File"] = {**reference("text"),
                                                  "description": f"file with the {field['name']}"}
    return properties


def not_both(fields):
    """A secret is given by value or by file."""
    something = {"not": {"type": "null"}}
    return [{"not": {"required": [name, name + "File"],
                     "properties": {name: something, name + "File": something}}}
            for name in (field["name"] for field in fields if field["kind"] == "secret")]


def settings_schema(fields):
    """A map of a table's settings."""
    schema = {"type": "object", "properties": field_schemas(fields), "additionalProperties": False}
    if not_both(fields):
        schema["allOf"] = not_both(fields)
    return schema


def target_pattern(schemes):
    return "^(" + "|".join(any_case(scheme) for scheme in schemes) + "):"


def target_schema(schemes):
    return {"anyOf": [{"type": "string", "pattern": target_pattern(schemes)},
                      reference("variable")]}


def scalar_schema(probe_type):
    """What may stand behind a type's key instead of a map."""
    if any(field["name"] == "command" for field in probe_type["fields"]):
        return {"type": "string", "minLength": 1}
    if probe_type["name"] == "postgres":  # also libpq's connection strings
        pattern = target_pattern(probe_type["schemes"]) + "|="
        return {"type": "string", "pattern": pattern}
    return target_schema(probe_type["schemes"])


def where_fields(probe_type):
    """The settings that a target stands for."""
    names = [field["name"] for field in probe_type["fields"]]
    return {"url", "urlFile"} if "url" in names else {"command"}


def block_form(types, common):
    """{ redis: {...}, periodSeconds: 5 }"""
    keys = {}
    for probe_type in types:
        block = {"anyOf": [reference(probe_type["name"]), scalar_schema(probe_type)],
                 "description": probe_type["summary"]}
        keys[probe_type["name"]] = block
        if "kubernetesName" in probe_type:
            keys[probe_type["kubernetesName"]] = block
    return {"type": "object", "properties": {**keys, **common}, "additionalProperties": False,
            "oneOf": [{"required": [key]} for key in keys]}


def target_form(probe_type, common):
    """{ target: redis://cache, role: primary, periodSeconds: 5 }"""
    own = {name: {"$ref": f"#/$defs/{probe_type['name']}/properties/{name}"}
           for name in field_schemas(probe_type["fields"])
           if name not in where_fields(probe_type)}
    form = {"type": "object",
            "properties": {"target": {"type": "string",
                                      "pattern": target_pattern(probe_type["schemes"])},
                           **own, **common},
            "required": ["target"], "additionalProperties": False}
    conflicts = [field for field in probe_type["fields"]
                 if field["name"] not in where_fields(probe_type)]
    if not_both(conflicts):
        form["allOf"] = not_both(conflicts)
    return form


def variable_form(common):
    """{ target: "${CACHE}", ... }: the type is known only when the variable is."""
    return {"type": "object",
            "properties": {"target": {"type": "string", "pattern": r"^\$"}, **common},
            "required": ["target"]}


def probe_schema(tables):
    common = {name: {"$ref": f"#/$defs/common/properties/{name}"}
              for name in field_schemas(tables["probe"])}
    schemes = [scheme for probe_type in tables["types"] for scheme in probe_type["schemes"]]
    return {"anyOf": [target_schema(schemes), block_form(tables["types"], common),
                      *(target_form(probe_type, common) for probe_type in tables["types"]),
                      variable_form(common)]}


def role_probe_schema(role):
    """What the Kubernetes API allows under one role only."""
    if role == "readiness":
        rule = {"terminationGracePeriodSeconds": {"type": "null"}}
    else:
        rule = {"successThreshold": {"enum": [1, "1", None]}}
    return {"allOf": [reference("probe"), {"properties": rule}]}


def definitions(tables):
    scalar = ["string", "number", "boolean"]
    item = {"type": "object", "additionalProperties": False, "required": ["name"],
            "properties": {"name": {"type": scalar}, "value": {"type": [*scalar, "null"]}}}
    line = {"type": "string", "pattern": "^[^:=]+[:=]"}
    statuses = {"anyOf": [{"type": "integer", "minimum": 100, "maximum": 599},
                          {"type": "string",
                           "pattern": "^ *[1-5][0-9]{2}(-[1-5][0-9]{2})? *"
                                      "(, *[1-5][0-9]{2}(-[1-5][0-9]{2})? *)*$"},
                          reference("variable")]}
    return {
        "variable": {"type": "string", "pattern": r"\$",
                     "description": "${VAR}, ${VAR:-default}, ${VAR:?message}; $$ is a dollar"},
        "text": {"type": [*scalar, "null"]},
        "texts": {"anyOf": [{"type": [*scalar, "null"]},
                            {"type": "array", "items": {"type": scalar}}]},
        "command": {"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "null"},
                              {"type": "array", "items": {"type": scalar}, "minItems": 1}]},
        "pairs": one_of({"type": "object", "additionalProperties": {"type": [*scalar, "null"]}},
                        {"type": "array", "items": {"anyOf": [item, line]}}, line),
        "statuses": {"anyOf": [statuses, {"type": "array", "items": statuses}, {"type": "null"}]},
        "common": {"type": "object", "properties": field_schemas(tables["probe"])},
        **{probe_type["name"]: settings_schema(probe_type["fields"])
           for probe_type in tables["types"]},
        "probe": probe_schema(tables),
        **{role + "Probe": role_probe_schema(role) for role in ROLES},
    }


def top_level(tables):
    """The settings of the top level; "drain.delaySeconds" is a map in a map."""
    properties = {}
    sections = {}
    for field in tables["settings"]:
        section, _, name = field["name"].rpartition(".")
        if section:
            sections.setdefault(section, []).append({**field, "name": name})
        else:
            properties.update(field_schemas([field]))
    for section, fields in sections.items():
        properties[section] = {"type": ["object", "null"], "properties": field_schemas(fields),
                               "additionalProperties": False}
    address = {"anyOf": [{"type": "string", "pattern": f"^(unix:[/@].+|{ADDRESS})$"},
                         reference("variable")]}
    properties["listen"].pop("$ref")
    properties["listen"]["anyOf"] = [address, {"const": "none"}, {"type": "null"},
                                     {"type": "array", "items": address, "minItems": 1}]
    properties["socket"].pop("$ref")
    properties["socket"]["anyOf"] = [{"type": "string", "pattern": "^([/@].+|none)$"},
                                     reference("variable"), {"type": "null"}]
    for role in ROLES:
        properties[role] = {
            "type": ["object", "null"],
            "description": f"{role} probes by their names",
            "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
                              "not": {"enum": ROLES}},
            "additionalProperties": reference(role + "Probe"),
        }
        properties[role + "Probe"] = {
            "anyOf": [reference(role + "Probe"), {"type": "null"}],
            "description": f"a {role} probe as in a pod spec, here called app",
        }
    return properties


def build(tables):
    """The schema as a dictionary."""
    both = [{"not": {"type": "object", "required": [role, role + "Probe"],
                     "properties": {role: {"type": "object", "required": ["app"]},
                                    role + "Probe": {"not": {"type": "null"}}}}}
            for role in ROLES]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "readyd.yaml",
        "description": "Configuration of readyd, a health and readiness agent",
        "type": ["object", "null"],
        "properties": top_level(tables),
        "additionalProperties": False,
        "allOf": both,
        "$defs": definitions(tables),
    }


def tables_of(binary):
    done = subprocess.run([binary, "config", "fields", "--json"], check=True, capture_output=True)
    return json.loads(done.stdout)


def text_of(binary):
    """The schema as it stands in the file."""
    return json.dumps(build(tables_of(binary)), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.stdout.write(text_of(sys.argv[1]))
