"""KServe's inference client without the rest of its package.

`import kserve` loads a whole server and a client of Kubernetes. The client is three modules of it; what these import
beside that and never touch on their way to a server of this protocol is stood in for here.
"""

import importlib.util
import pathlib
import sys
import types


class Anything(types.ModuleType):
    """A module that has every name."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for name in ["pandas", "psutil", "fastapi", "fastapi.responses", "cloudevents", "cloudevents.conversion", "cloudevents.http"]:
    sys.modules[name] = Anything(name)
package = types.ModuleType("kserve")
package.__path__ = [str(pathlib.Path(importlib.util.find_spec("kserve").origin).parent)]
sys.modules["kserve"] = package

from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402

__all__ = ["InferInput", "InferRequest", "InferenceGRPCClient", "InferenceRESTClient", "RESTConfig", "RequestedOutput"]
