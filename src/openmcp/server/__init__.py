"""The HTTP edge: sockets in, a `Request` and a `Wire` for whoever handles the exchange out."""
