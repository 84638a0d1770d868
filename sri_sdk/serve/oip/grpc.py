"""The Open Inference Protocol over gRPC: synchronous, with raw contents. Stubs are those that tritonclient ships.

A call is answered by a thread of a small pool. In Python that costs less than an event loop for gRPC does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sri_sdk.errors import ConfigError, MissingExtra, SriError
from sri_sdk.serve.counts import Counts
from sri_sdk.serve.http import Refusal, bounded, headers_of, log_bug, refusal_of
from sri_sdk.serve.oip.asked import MOST_TENSORS, Asked, StatedInput, asked
from sri_sdk.serve.oip.infer import Inference
from sri_sdk.serve.oip.metadata import SERVER, model_config, model_metadata
from sri_sdk.serve.oip.model import GRAPHS
from sri_sdk.serve.oip.routes import bundle_of, check_tenant
from sri_sdk.serve.oip.tensors import DTYPES, Array, from_bytes, from_json, to_bytes
from sri_sdk.serve.rights import ANYBODY, LOCAL, Caller, Right
from sri_sdk.serve.settings import GrpcSection, LimitsSection, TlsSection
from sri_sdk.serve.tls import check_tls
from sri_sdk.serve.tokens import Tokens, check_right

_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED", 409: "FAILED_PRECONDITION", 413: "INVALID_ARGUMENT", 422: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip
_CONTENTS = {"FP32": "fp32_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
_RIGHTS: Mapping[str, Right] = {
    "ServerLive": "open", "ServerReady": "open", "ModelReady": "open", "ServerMetadata": "open",
    "ModelMetadata": "read", "ModelConfig": "read", "RepositoryIndex": "read", "ModelInfer": "write",
    "RepositoryModelLoad": "admin", "RepositoryModelUnload": "admin",
}  # fmt: skip
"""What is answered, and the right it takes."""

log = logging.getLogger(__name__)


class GrpcServer:
    """A server beside the one for HTTP; a part of the application, see `app.py`.

    Args:
        section: where to listen.
        limits: what a call may take.
        tls: as for HTTP; None = none.
        tokens: who may call; None = everybody.
        inference: what answers.
        why_not_ready: empty = the server is ready.
        counts: where calls are counted.

    Raises:
        MissingExtra: grpc or tritonclient is not installed.
    """

    def __init__(
        self, section: GrpcSection, limits: LimitsSection, tls: TlsSection | None, tokens: Tokens | None,
        inference: Inference, why_not_ready: Callable[[], str], counts: Counts,
    ) -> None:  # fmt: skip
        try:
            import grpc
            from tritonclient.grpc import service_pb2_grpc
        except ImportError as err:
            raise MissingExtra("Serving gRPC", extra="grpc") from err
        self._section = section
        self._pool = ThreadPoolExecutor(section.threads, thread_name_prefix="sri-grpc")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", limits.body_bytes),
                # One process per port: another one would answer some of the calls.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=limits.concurrency,
        )
        answers = _Answers(tokens, inference, limits.rows, why_not_ready)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_servicer(answers, counts), self._server)
        address = f"{section.host}:{section.port}"
        try:
            if tls is None:
                self.port: int = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(tls))
        except RuntimeError as err:
            raise ConfigError(f"grpc: cannot listen on {address}. Choose another port, or 0 for a free one.") from err

    async def __aenter__(self) -> None:
        self._server.start()
        log.info("gRPC listens on %s:%d", self._section.host, self.port)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._server.stop(grace=5).wait)
        self._pool.shutdown(wait=False)


class _Answers:
    """One method per call: message -> message."""

    def __init__(
        self, tokens: Tokens | None, inference: Inference, most_rows: int, why_not_ready: Callable[[], str]
    ) -> None:
        from tritonclient.grpc import model_config_pb2, service_pb2

        self._pb, self._config_pb = service_pb2, model_config_pb2
        self._tokens, self._inference, self._shelf = tokens, inference, inference.shelf
        self._most_rows, self._why_not_ready = most_rows, why_not_ready

    def caller(self, name: str, context: Any) -> Caller:
        """Who calls, if it may."""
        right = _RIGHTS[name]
        if right == "open":
            return ANYBODY
        if self._tokens is None:
            return LOCAL
        sent = headers_of([(key.encode(), str(value).encode()) for key, value in context.invocation_metadata()])
        found = self._tokens.caller(sent.get(b"authorization", b""))
        # What takes this right changes the bundles.
        check_right(found, right, shared=right == "admin")
        return found

    def ServerLive(self, request: Any, caller: Caller) -> Any:  # noqa: N802  # As the protocol spells it; so below.
        return self._pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        return self._pb.ServerReadyResponse(ready=not self._why_not_ready())

    def ModelReady(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        self._shelf.model(request.name, request.version)
        return self._pb.ModelReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        return self._pb.ServerMetadataResponse(**SERVER)

    def ModelMetadata(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        model = self._shelf.model(request.name, request.version)
        found = model_metadata(model, [each.number for each in self._shelf.entries[model.bundle].versions])
        del found["parameters"]  # gRPC has none here.
        return self._pb.ModelMetadataResponse(**found)

    def ModelConfig(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        found = model_config(self._shelf.model(request.name, request.version), self._most_rows)
        return self._pb.ModelConfigResponse(config=self._config_pb.ModelConfig(**found))

    def RepositoryIndex(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        return self._pb.RepositoryIndexResponse(models=[
            {"name": f"{entry.name}_{graph}", "version": each.number, "state": "READY"}
            for entry in self._shelf.entries.values() for graph in GRAPHS for each in entry.versions
        ])  # fmt: skip

    def RepositoryModelLoad(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        digest = request.parameters["sri_digest"].string_param if "sri_digest" in request.parameters else None
        self._shelf.load(bundle_of(self._shelf, request.model_name), digest)
        return self._pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        self._shelf.unload(bundle_of(self._shelf, request.model_name))
        return self._pb.RepositoryModelUnloadResponse()

    def ModelInfer(self, request: Any, caller: Caller) -> Any:  # noqa: N802
        model = self._shelf.model(request.model_name, request.model_version)
        if max(len(request.inputs), len(request.outputs), len(request.raw_input_contents)) > MOST_TENSORS:
            raise Refusal(400, f"inputs, outputs: at most {MOST_TENSORS} each.")
        tensors = [_tensor(item) for item in request.inputs]
        names, parameters = [item.name for item in request.outputs], _values(request.parameters)
        request_id = bounded(request.id, "id") if request.id else ""
        found = asked(model, tensors, names, parameters, most_rows=self._most_rows)
        check_tenant(found, caller)
        return self._answer(found, request_id, self._inference.answer_now(found, _arrays(request, found)))

    def _answer(self, found: Asked, request_id: str, results: Mapping[str, Array]) -> Any:
        answer = self._pb.ModelInferResponse(
            model_name=found.model.name, model_version=found.model.version, id=request_id
        )
        for name, value in found.echo.items():
            if isinstance(value, bool):
                answer.parameters[name].bool_param = value
            else:
                answer.parameters[name].string_param = value
        for name in found.outputs:
            edge = found.model.outputs[name]
            answer.outputs.add(name=name, datatype=edge.datatype, shape=[found.rows, *edge.dims])
            answer.raw_output_contents.append(to_bytes(results[name]))
        return answer


def _servicer(answers: _Answers, counts: Counts) -> Any:
    """The class that gRPC wants: every call through one door, where mistakes become codes."""
    import grpc
    from tritonclient.grpc import service_pb2_grpc

    def through(name: str) -> Callable[[Any, Any, Any], Any]:
        answer = getattr(answers, name)

        def call(self: Any, request: Any, context: Any) -> Any:
            started, refusal = time.perf_counter(), None
            try:
                return answer(request, answers.caller(name, context))
            except Refusal as err:
                refusal = err
            except SriError as err:
                refusal = refusal_of(err)
            except Exception as err:
                log_bug(log, f"the call {name}", err)
                refusal = Refusal(500, "server: failed at this call. Its log says why.")
            finally:
                counts.request(f"grpc {name}", refusal.status if refusal else 200, time.perf_counter() - started)
            return context.abort(grpc.StatusCode[_CODES[refusal.status]], refusal.message)

        return call

    made = type("Servicer", (service_pb2_grpc.GRPCInferenceServiceServicer,), {name: through(name) for name in _RIGHTS})
    return made()


def _tensor(item: Any) -> StatedInput:
    name = bounded(item.name, "name in inputs")
    if item.datatype not in DTYPES or len(item.shape) > 8 or any(not 0 <= size < 2**31 for size in item.shape):
        raise Refusal(400, f"input {name}: needs a datatype of {', '.join(DTYPES)}, and a shape of up to 8 numbers.")
    return StatedInput(name, item.datatype, tuple(item.shape))


def _arrays(request: Any, found: Asked) -> dict[str, Array]:
    raw = request.raw_input_contents
    if len(raw) not in (0, len(found.inputs)):
        raise Refusal(
            400, f"raw_input_contents: {len(raw)} for {len(found.inputs)} inputs. Send one for each, or none."
        )
    arrays = {}
    for number, (item, tensor) in enumerate(zip(request.inputs, found.inputs, strict=True)):
        if raw:
            array = from_bytes(raw[number], tensor.datatype, tensor.shape, tensor.name)
        else:
            values = list(getattr(item.contents, _CONTENTS[tensor.datatype]))
            array = from_json(values, tensor.datatype, tensor.shape, tensor.name)
        arrays[tensor.name] = array.reshape(tensor.as_taken)
    return arrays


def _values(parameters: Any) -> dict[str, Any]:
    return {name: getattr(each, str(each.WhichOneof("parameter_choice")), None) for name, each in parameters.items()}


def _credentials(tls: TlsSection) -> Any:
    import grpc

    check_tls(tls)
    authority = None if tls.client_ca is None else tls.client_ca.read_bytes()
    pair = tls.key.read_bytes(), tls.certificate.read_bytes()
    return grpc.ssl_server_credentials([pair], authority, authority is not None)
