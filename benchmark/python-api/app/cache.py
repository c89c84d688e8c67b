"""Answers that are known, in Redis."""

import hashlib

import orjson
import redis.asyncio

from .settings import settings


class Cache:
    """Keeps predictions under a hash of model, version and input."""

    def __init__(self) -> None:
        self.client = redis.asyncio.Redis.from_url(settings.redis_url, socket_timeout=1, protocol=3)

    async def get(self, key: str) -> object | None:
        """The prediction, if Redis has it; a Redis that fails has nothing."""
        try:
            value = await self.client.get(key)
        except redis.RedisError:
            return None
        return None if value is None else orjson.loads(value)

    async def put(self, key: str, prediction: object) -> None:
        """Keeps a prediction for the configured time."""
        try:
            await self.client.set(key, orjson.dumps(prediction), ex=settings.cache_seconds)
        except redis.RedisError:
            pass

    async def close(self) -> None:
        """Gives the connections back."""
        await self.client.aclose()


def cache_key(model: str, version: str, item: str | list[float]) -> str:
    """Equal for equal inputs to the same version."""
    digest = hashlib.blake2b(orjson.dumps([model, version, item]), digest_size=16).hexdigest()
    return f"predict:{digest}"
