"""Who may call what.

* `proxies.py`: whose word on the client's address counts
* `browsers.py`: which hosts and origins are answered: DNS rebinding, CORS
"""
