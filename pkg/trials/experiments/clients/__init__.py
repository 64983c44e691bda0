"""Load clients: programs of their own, so that a machine's cores share them.

They speak HTTP and WebSocket by hand over asyncio protocols. A library's client would cost several
times what the server spends on a request, and the experiment would measure it.
"""
