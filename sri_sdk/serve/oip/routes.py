"""The paths of the Open Inference Protocol: health, metadata, inference, and the repository of bundles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sri_sdk.serve.http import Answer, Refusal, Request, json_answer
from sri_sdk.serve.oip import codec
from sri_sdk.serve.oip.asked import Asked
from sri_sdk.serve.oip.infer import Inference
from sri_sdk.serve.oip.metadata import SERVER, model_config, model_metadata
from sri_sdk.serve.oip.model import GRAPHS, Model
from sri_sdk.serve.rights import Caller
from sri_sdk.serve.routes import Route
from sri_sdk.serve.shelf import Shelf


class OipRoutes:
    """Handlers of the protocol.

    Args:
        inference: what answers.
        most_rows: that one request may have.
        ready: why the server is not ready; empty = it is.
    """

    def __init__(self, inference: Inference, most_rows: int, ready: Callable[[], str]) -> None:
        self._inference = inference
        self._shelf: Shelf = inference.shelf
        self._most_rows = most_rows
        self._why_not = ready

    def routes(self) -> list[Route]:
        """All of them."""
        model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        repository = "/v2/repository"
        return [
            Route("POST", f"{model}/infer", self.infer, "write"),
            Route("POST", f"{version}/infer", self.infer, "write"),
            Route("GET", "/v2/health/live", self.live, "open"),
            Route("GET", "/v2/health/ready", self.ready, "open"),
            Route("GET", "/v2", self.server, "open"),
            Route("GET", model, self.metadata, "read"),
            Route("GET", version, self.metadata, "read"),
            Route("GET", f"{model}/ready", self.model_ready, "open"),
            Route("GET", f"{version}/ready", self.model_ready, "open"),
            Route("GET", f"{model}/config", self.config, "read"),
            Route("GET", f"{version}/config", self.config, "read"),
            Route("POST", f"{repository}/index", self.index, "read"),
            Route("POST", f"{repository}/models/{{model}}/load", self.load, "admin", shared=True),
            Route("POST", f"{repository}/models/{{model}}/unload", self.unload, "admin", shared=True),
            Route("GET", "/v1/bundles", self.bundles, "read"),
            Route("POST", "/v1/bundles/{bundle}/rollback", self.roll_back, "admin", shared=True),
            Route("POST", "/v1/bundles/{bundle}/shadow", self.shadow, "admin", shared=True),
        ]

    async def infer(self, request: Request) -> Answer:
        """Scores, and verdicts on request."""
        body = await request.body()
        heard = codec.read(self._model(request), body, request.headers.get(codec.HEADER), self._most_rows)
        check_tenant(heard.spoken.asked, request.caller)
        return codec.answer(heard, await self._inference.answer(heard.spoken.asked, heard.tensors))

    # -- health and metadata -----------------------------------------------------------------------------------

    async def live(self, request: Request) -> Answer:
        """Whether the process answers."""
        return json_answer({"live": True})

    async def ready(self, request: Request) -> Answer:
        """Whether it should be sent requests."""
        why = self._why_not()
        return json_answer({"ready": False, "reason": why}, 503) if why else json_answer({"ready": True})

    async def server(self, request: Request) -> Answer:
        """Name, version and extensions."""
        return json_answer(SERVER)

    async def metadata(self, request: Request) -> Answer:
        """Of one model."""
        model = self._model(request)
        versions = [each.number for each in self._shelf.entries[model.bundle].versions]
        return json_answer(model_metadata(model, versions))

    async def model_ready(self, request: Request) -> Answer:
        """Whether one model is loaded."""
        return json_answer({"name": self._model(request).name, "ready": True})

    async def config(self, request: Request) -> Answer:
        """Of one model, for clients of Triton."""
        return json_answer(model_config(self._model(request), self._most_rows))

    # -- the repository ----------------------------------------------------------------------------------------

    async def index(self, request: Request) -> Answer:
        """Every version of every model."""
        found = []
        for entry in self._shelf.entries.values():
            for graph in GRAPHS:
                name = f"{entry.name}_{graph}"
                found += [{"name": name, "version": each.number, "state": "READY"} for each in entry.versions]
                if entry.live is None:
                    found.append({"name": name, "version": "", "state": "UNAVAILABLE", "reason": entry.problem})
        return json_answer(found)

    async def load(self, request: Request) -> Answer:
        """Reads a bundle from its path, and makes it live. The parameter `sri_digest` says which one it must be."""
        value = await request.json_value() if self._has_body(request) else {}
        parameters = value.get("parameters", {}) if isinstance(value, dict) else None
        digest = parameters.get("sri_digest") if isinstance(parameters, dict) else 0
        if digest is not None and not isinstance(digest, str):
            raise Refusal(400, 'body: not {"parameters": {"sri_digest": "..."}}. Leave it out, or send that.')
        made = await asyncio.to_thread(self._shelf.load, self._bundle(request), digest)
        return json_answer({"version": made.number, "digest": made.digest})

    async def unload(self, request: Request) -> Answer:
        """Takes a bundle out, both its models."""
        await asyncio.to_thread(self._shelf.unload, self._bundle(request))
        return json_answer({})

    async def bundles(self, request: Request) -> Answer:
        """Every bundle: versions, which is live, its shadow, what went wrong."""
        return json_answer({"bundles": [
            {
                "name": entry.name,
                "live": None if entry.live is None else entry.live.number,
                "versions": [{"version": each.number, "digest": each.digest} for each in entry.versions],
                "shadow": None if entry.shadow is None else entry.shadow.digest,
                "problem": entry.problem or None,
                "shadow_problem": entry.shadow_problem or None,
            }
            for entry in self._shelf.entries.values()
        ]})  # fmt: skip

    async def roll_back(self, request: Request) -> Answer:
        """Makes the version live that was loaded before."""
        made = await asyncio.to_thread(self._shelf.roll_back, request.params["bundle"])
        return json_answer({"version": made.number, "digest": made.digest})

    async def shadow(self, request: Request) -> Answer:
        """`{"on": true}` or `{"on": false}`."""
        value = await request.json_value()
        if not isinstance(value, dict) or value.keys() != {"on"} or not isinstance(value["on"], bool):
            raise Refusal(400, 'body: must be {"on": true} or {"on": false}.')
        made = await asyncio.to_thread(self._shelf.set_shadow, request.params["bundle"], value["on"])
        return json_answer({"shadow": None if made is None else made.digest})

    # -- internals ---------------------------------------------------------------------------------------------

    def _model(self, request: Request) -> Model:
        return self._shelf.model(request.params["model"], request.params.get("version", ""))

    def _bundle(self, request: Request) -> str:
        return bundle_of(self._shelf, request.params["model"])

    def _has_body(self, request: Request) -> bool:
        return request.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in request.headers


def bundle_of(shelf: Shelf, name: str) -> str:
    """The bundle that a client means: clients of Triton name a model, and both models of a bundle go together."""
    short = next((name.removesuffix(f"_{graph}") for graph in GRAPHS if name.endswith(f"_{graph}")), name)
    return name if name in shelf.entries else short


def check_tenant(asked: Asked, caller: Caller) -> None:
    """Refuses a request for another tenant than the caller's own."""
    if caller.tenant is not None and asked.tenant not in (None, caller.tenant):
        raise Refusal(403, "sri_tenant: the token is of another tenant. Leave it out, or use a token of that tenant.")
