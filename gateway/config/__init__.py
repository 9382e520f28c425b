"""`gateway.toml` → frozen attrs objects, every mistake reported at once with its line.

* `fields.py`: one function per type of value a key may hold; they make the attrs fields
* `units.py`: durations, sizes, rates, shares: text ↔ numbers
* `reader.py`: files → one raw document, with the line of every key; `include`
* `problems.py`: the collector of mistakes, `ConfigError`
* `decode.py`: the raw document → the classes of `settings.py`; suggestions, secrets, profiles
* `settings.py`: the classes, whose fields *are* the keys
* `schema.py`: the JSON Schema made from the same fields
"""
