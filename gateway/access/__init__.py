"""Who may call what.

* `browsers.py`: which hosts and origins are answered: DNS rebinding, CORS
"""
