"""`kind = "python"`: functions of a Python module, blocking or async, in threads or in processes.

* `settings.py`: the keys of the service and of a call
* `modules.py`: the module: the one beside the file, or one that is installed
* `function.py`: a function: what it takes, how it is called, what comes of it
* `hints.py`: the types that its values are converted to
* `items.py`: what a generator yields, bounded, one by one
* `adapter.py`: calls, on the loop and in threads
* `processes.py`, `work.py`: calls in worker processes: on our side, and on theirs
* `tools.py`, `description.py`, `docstring.py`: a function as a whole tool: its schema, its words
* `judged.py`: whether what the file names is there, told before anything opens
"""

from gateway.adapters.python.adapter import KIND

__all__ = ["KIND"]
