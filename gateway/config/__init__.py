"""`gateway.toml` → frozen attrs objects, every mistake reported at once with its line.

For everybody else:

* `loader.py`: `load`, `load_mapping`, `strict`: a file → `Loaded`
* `settings.py`: the classes of its tables, whose fields *are* the keys
* `decoded.py`: what they become; `Config` is the whole file
* `fields.py`: one function per type of value a key may hold; they make the attrs fields
* `problems.py`: the collector of mistakes, their places, `ConfigError`
* `secret.py`: `Secret`, and the references `env:NAME` and `file:PATH`
* `units.py`: durations, sizes, rates, shares: text ↔ numbers
* `schema.py`: the JSON Schema made from the same fields

Behind these, in the order of a file's way:

* `reader.py`: files → one raw document; `include`
* `lines.py`: the line of every key, which tomllib does not tell
* `decode.py`, `decode_tools.py`: the raw document → the classes of `settings.py` and `decoded.py`
* `decode_imports.py`, `openapi/`: an OpenAPI document's operations as tools
* `tables.py`: a table's keys: decoded, unknown, missing
* `codec.py`, `values.py`, `json_values.py`, `expressions.py`, `addresses.py`, `input_schema.py`, `styled.py`,
  `multipart.py`: what each type of value takes
* `schema_bounds.py`: how long a value may take to be held against a schema
* `faults.py`: what is wrong with an address, a URL, a path
* `unavailable.py`: what the language has and this version does not
* `text.py`: how values, keys and near names are shown in messages
"""
