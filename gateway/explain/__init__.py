"""What a tool will do, said before it does it: every effective value, and what follows from them.

* `describe.py`: a tool of a file → `Explanation`; `values.py` knows where each value came from
* `arithmetic.py`: how long a call may take at worst, and how many attempts fit into its budget
* `warnings.py`: what cannot be meant
* `text.py`, `document.py`, `mermaid.py`: for people, for programs, as a graph
"""
