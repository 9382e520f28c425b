"""OpenAPI documents → tables of tools, as `gateway.toml` would write them.

In the order of a document's way:

* `document.py`: files, their parts, references between them, and the bounds of all that
* `yaml_text.py`: YAML, where its library is installed
* `operations.py`: a document's operations, selected by patterns
* `names.py`: names and descriptions that are fit for models
* `tables.py`: an operation → the table of a tool with one call
* `parameters.py`, `bodies.py`: what a call takes, from an operation's parameters and body
* `replies.py`: the schema of what an operation answers
* `schemas.py`: a document's schemas → JSON Schema 2020-12, each tool's by itself

A table that comes out here is decoded like one that was written: `gateway import-openapi` prints
the very tables that `from_openapi` means.
"""
