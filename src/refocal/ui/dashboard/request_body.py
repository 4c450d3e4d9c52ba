"""Bodies of requests: bounded in bytes and in time."""

import asyncio

from starlette.requests import Request

from refocal.core.errors import BadOptionError

BODY_SECONDS = 10.0


async def received(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request.

    Raises
    ------
    BadOptionError
        If it is longer than that, or does not come in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise BadOptionError(f"the request is longer than {most_bytes} bytes")
    except TimeoutError as error:
        raise BadOptionError(f"the request did not come within {BODY_SECONDS:g} s") from error
    return bytes(body)
