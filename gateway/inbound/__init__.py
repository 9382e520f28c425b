"""The ways in: one file or folder = one protocol that clients speak.

* `front.py`: what every protocol stands before: the tools and how one is called
* `http.py`: `POST /tools/NAME`, each tool's own route, `GET /openapi.json`
* `mcp/`: the Model Context Protocol at `/mcp`
* `proxy/`: bytes through to an HTTP service
"""
