"""A tool's calls as a graph, run in a nursery, merged into one answer.

* `template.py`: `{placeholders}` in paths, texts and values, compiled
* `arguments.py`: a tool's input schema: coercion, validation, defaults
* `graph.py`: which call waits for which; cycles and unknown names found at load
* `compile.py`: a tool as it is written → as it runs
* `merge.py`: the values of the calls → the answer's value
* `plan.py`: the graph, compiled
* `run.py`: one request's way through the graph
* `ledger.py`: what telemetry is told of one request
* `tool.py`: what clients call
"""
