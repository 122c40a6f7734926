#!/usr/bin/python3
"""Judges documents by a JSON Schema, with the two libraries that only Debian's python3 has.

usage: config_judge.py SCHEMA < JSON list of YAML texts > JSON list of verdicts

A verdict is null for a valid document, or what the schema has against it.
"""

import json
import sys

import jsonschema
import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)


def judge(text):
    error = next(validator.iter_errors(yaml.safe_load(text)), None)
    return f"{list(error.absolute_path)}: {error.message}"[:500] if error else None


json.dump([judge(text) for text in json.load(sys.stdin)], sys.stdout)
