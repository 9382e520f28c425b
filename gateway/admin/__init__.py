"""The operator's side: health and metrics, on an address of its own, never on the public one.

* `app.py`: `Admin`, the ASGI application; `Status`, what readiness says
"""
