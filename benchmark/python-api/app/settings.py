"""Everything that can be set, read from the environment once per worker."""

import os
from pathlib import Path


class Settings:
    """Names are upper-case in the environment: MODELS, API_KEYS, REDIS_URL, …"""

    def __init__(self) -> None:
        self.models = Path(os.environ.get("MODELS", "model"))
        self.api_keys = frozenset(filter(None, os.environ.get("API_KEYS", "").split(",")))
        self.redis_url = os.environ.get("REDIS_URL", "")  # "" keeps no answers
        self.cache_seconds = int(os.environ.get("CACHE_SECONDS", "600"))
        self.rate_limit = os.environ.get("RATE_LIMIT", "1000000/second")
        self.intra_threads = int(os.environ.get("INTRA_THREADS", "1"))
        self.log_file = os.environ.get("LOG_FILE", "")  # "" is standard output


settings = Settings()
