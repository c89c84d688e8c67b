"""Who may call, and how often."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader
from slowapi import Limiter

from .settings import settings

header = APIKeyHeader(name="X-API-Key", auto_error=False)


async def require_key(key: Annotated[str | None, Depends(header)]) -> str:
    """The caller's key; 401 without a valid one."""
    if key is None or key not in settings.api_keys:
        raise HTTPException(401, "no valid key", headers={"WWW-Authenticate": "ApiKey"})
    return key


def caller(request: Request) -> str:
    """What the limit counts by: the key, or the address of who shows none."""
    return request.headers.get("x-api-key") or (request.client.host if request.client else "unknown")


# Counted in each worker's memory: in Redis, every request would pay for another round trip.
limiter = Limiter(key_func=caller, headers_enabled=False)
