"""What all parts share: the options, the servers, the bodies, and where the encoder is if it was built."""

import shutil
import tomllib

from . import closed
from .services import PYTHON, ROOT, Services
from .subjects import Subjects

PACKAGES = {"wrk": "wrk", "redis-server": "redis-server"}


class Bench:
    """One run of the benchmark."""

    def __init__(self, options, children, folder):
        self.options, self.folder = options, folder
        for program, package in PACKAGES.items():
            if shutil.which(program) is None:
                raise SystemExit(f"{program} is not on the PATH. Mend it with: apt-get install {package}")
        self.minilm = self._find_minilm()
        self.services = Services(children, folder, options.target, self._models())
        for built in (self.services.binary(), self.services.example()):
            if not built.exists():
                raise SystemExit(f"{built} is not there. Mend it with: cargo build --release --bins --example ceiling")
        self.subjects = Subjects(folder)
        self.has_python = not options.no_python and PYTHON.exists()
        if not self.has_python:
            self.say("Skipping FastAPI: " + ("as told" if options.no_python else "scripts/setup-bench.sh did not run"))

    def drive(self, service, subject, connections):
        """A run to be made once per round."""
        return lambda: closed.drive(service, subject, connections, self.options.seconds)

    def fastapi(self):
        """The Python service without a cache."""
        return self.services.fastapi(threads=self.options.python_threads)

    def say(self, words):
        print(words, flush=True)

    def _models(self):
        """A repository with the models of the benchmark and no others, so that memory is compared like with like."""
        models = self.folder / "models"
        for name in ("linear_regression", "toxicity"):
            shutil.copytree(ROOT / "model" / name, models / name)
        if self.minilm:
            # One version, the default one: memory would otherwise be that of several.
            home = models / "toxicity-minilm"
            shutil.copytree(self.minilm, home / self.minilm.name)
            shutil.copy(self.minilm.parent / "model.toml", home)
        return models

    def _find_minilm(self):
        """The encoder's default version; the tokenizer's Python package comes with that of the FastAPI service."""
        manifest = self.options.minilm / "model.toml"
        versions = sorted(self.options.minilm.glob("[0-9]*/model.onnx"), key=lambda path: int(path.parent.name))
        if not manifest.exists() or not versions:
            self.say(f"Skipping toxicity-minilm: {self.options.minilm} holds no graph (make models builds it)")
        elif not PYTHON.exists():
            self.say("Skipping toxicity-minilm: its texts are cut into tokens with what scripts/setup-bench.sh installs")
        else:
            default = tomllib.loads(manifest.read_text()).get("versions", {}).get("default", versions[-1].parent.name)
            return self.options.minilm / default
        return None
