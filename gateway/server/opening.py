"""How a server begins HTTP/2: its settings, and room for what its clients send.

Source: RFC 9113, sections 3.4, 6.5.2 and 6.9.2.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

__all__ = ["STREAMS", "opened"]

STREAMS = 100
"""So many requests at once."""

_WINDOW_BYTES = 65_535
"""So much of a body is kept until the application takes it."""


def opened(max_headers: int) -> H2Connection:
    """The server's side of a connection, whose settings wait to be sent.

    Its window has room for all streams' windows: none can use up what another needs. Requests are
    not checked; `Request` does that, on their own streams.

    Args:
        max_headers: Bytes of a request's fields, decoded.
    """
    connection = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    connection.local_settings.update(
        {
            SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
            SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_headers,
        }
    )
    connection.local_settings.acknowledge()
    connection.decoder.max_header_list_size = max_headers
    connection.initiate_connection()
    connection.increment_flow_control_window((STREAMS - 1) * _WINDOW_BYTES)
    return connection
