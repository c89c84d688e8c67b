"""The routes. Start with: uvicorn app.main:app --workers 2 --loop uvloop --http httptools --no-access-log"""

import time
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from slowapi import _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded

from .cache import Cache, cache_key
from .models import Model, load_models
from .responses import FastResponse
from .schemas import BatchRequest, PredictRequest
from .security import limiter, require_key
from .settings import settings
from .telemetry import PREDICTIONS, Telemetry, render_metrics, request_id, start_logging


@asynccontextmanager
async def lifespan(app: FastAPI):
    """What a worker holds while it runs."""
    start_logging()
    app.state.models = load_models()
    app.state.cache = Cache() if settings.redis_url else None
    app.state.counters = {
        (name, source): PREDICTIONS.labels(name, source) for name in app.state.models for source in ("model", "cache")
    }
    yield
    if app.state.cache:
        await app.state.cache.close()


app = FastAPI(title="Predictions", lifespan=lifespan)
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
app.add_middleware(Telemetry)

Key = Annotated[str, Depends(require_key)]


def find(request: Request, name: str) -> Model:
    """The model; 404 for one that is not served."""
    model = request.app.state.models.get(name)
    if model is None:
        raise HTTPException(404, f"there is no model '{name}'")
    return model


def run(model: Model, items: list) -> list:
    """Runs the model here: a run is shorter than the way to another thread and back."""
    try:
        return model.predict_texts(items) if isinstance(items[0], str) else model.predict_rows(items)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    except Exception as error:
        raise HTTPException(422, "the model cannot take this input") from error


async def predict_items(request: Request, model: Model, items: list) -> list[tuple[object, bool]]:
    """A prediction per item, and whether it was known."""
    cache: Cache | None = request.app.state.cache
    keys = [cache_key(model.name, model.version, item) for item in items] if cache else []
    known = [await cache.get(key) for key in keys] if cache else [None] * len(items)
    missing = [index for index, prediction in enumerate(known) if prediction is None]
    results = [(prediction, True) for prediction in known]
    if missing:
        for index, prediction in zip(missing, run(model, [items[index] for index in missing])):
            results[index] = (prediction, False)
            if cache:
                await cache.put(keys[index], prediction)
    counters = request.app.state.counters
    if missing:
        counters[model.name, "model"].inc(len(missing))
    if len(missing) < len(items):
        counters[model.name, "cache"].inc(len(items) - len(missing))
    return results


def envelope(model: Model, started: float) -> dict:
    """What every answer says."""
    return {
        "id": request_id.get(),
        "model": model.name,
        "model_version": model.version,
        "provider": "onnxruntime-cpu",
        "latency_ms": round((time.perf_counter() - started) * 1000, 3),
    }


@app.post("/predict")
@limiter.limit(settings.rate_limit)
async def predict(request: Request, body: PredictRequest, _key: Key) -> Response:
    """One prediction."""
    started = time.perf_counter()
    model = find(request, body.model)
    item = body.text if body.text is not None else body.input
    [(prediction, cached)] = await predict_items(request, model, [item])
    return FastResponse({**envelope(model, started), "prediction": prediction, "cached": cached})


@app.post("/predict/batch")
@limiter.limit(settings.rate_limit)
async def predict_batch(request: Request, body: BatchRequest, _key: Key) -> Response:
    """Many predictions, in order."""
    started = time.perf_counter()
    model = find(request, body.model)
    results = await predict_items(request, model, body.texts if body.texts is not None else body.inputs)
    predictions = [{"prediction": prediction, "cached": cached} for prediction, cached in results]
    cached_count = sum(cached for _, cached in results)
    return FastResponse({
        **envelope(model, started), "predictions": predictions, "count": len(results), "cached_count": cached_count,
    })


@app.get("/health")
async def health(request: Request) -> Response:
    """200 once the models are loaded."""
    return FastResponse({"status": "ok", "models": list(request.app.state.models)})


@app.get("/model/info")
async def model_info(request: Request, _key: Key, model: str = "toxicity") -> Response:
    """What a model takes."""
    return FastResponse(find(request, model).info())


@app.get("/metrics")
async def metrics() -> Response:
    """Everything that is counted, for Prometheus."""
    body, media_type = render_metrics()
    return Response(body, media_type=media_type)
