import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from pydantic import ValidationError
from sri_exporter_triton.exporter import TritonExporter
from sri_exporter_triton.options import Options
from sri_exporter_triton.pbtxt import to_text
from sri_exporter_triton.repository import repository_files, write_repository
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import SIGNATURE
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.scoring.runtime import load
from sri_sdk.testing import exporter_checks
from sri_sdk.testing.planted import CELLS, LAYERS, PlantedDetector

MODELS = ["sri_full_sensitive", "sri_prefix", "sri_signal", "sri_step_sensitive"]
ONNX_TYPES = {1: "TYPE_FP32", 7: "TYPE_INT64", 9: "TYPE_BOOL"}


class FromPython(PlantedDetector):
    tier = "python"


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def names(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


@pytest.mark.parametrize("check", exporter_checks(TritonExporter), ids=lambda check: check.name)
@pytest.mark.filterwarnings("ignore::sri_sdk.testing.planted.NotChecked")
def test_the_exporter_keeps_the_promises_of_its_kind(check):
    check()


@pytest.mark.parametrize("model", MODELS)
def test_triton_parses_every_configuration_and_finds_its_model(repository, kit, model):
    config = kit.config_of(repository / model)
    assert (config.name, config.backend, config.max_batch_size) == (model, "onnxruntime", 8)
    assert config.version_policy.latest.num_versions == 1
    assert [(x.kind, x.count) for x in config.instance_group] == [(ModelInstanceGroup.KIND_CPU, 1)]
    onnx.load_model(repository / model / "1" / "model.onnx")


@pytest.mark.parametrize("model", MODELS)
def test_inputs_and_outputs_are_those_of_the_graph_without_the_batch(repository, kit, model):
    config = kit.config_of(repository / model)
    graph = onnx.load_model(repository / model / "1" / "model.onnx").graph
    kept = list(config.sequence_batching.state)
    for given, edges, hidden in [
        (config.input, graph.input, {x.input_name: x for x in kept}),
        (config.output, graph.output, {x.output_name: x for x in kept}),
    ]:
        assert {x.name for x in given} | hidden.keys() == {x.name for x in edges}
        assert not {x.name for x in given} & hidden.keys()
        by_name = {x.name: x for x in given} | hidden
        for edge in edges:
            found, tensor = by_name[edge.name], edge.type.tensor_type
            batch, *sizes = tensor.shape.dim
            reshaped = edge.name not in hidden and found.HasField("reshape")
            assert batch.dim_param == "B"
            assert list(found.reshape.shape if reshaped else found.dims) == [size.dim_value for size in sizes]
            assert text_format.MessageToString(found).count(ONNX_TYPES[tensor.elem_type]) >= 1
            assert not reshaped or list(found.dims) == [1]


@pytest.mark.parametrize("model", ["sri_signal", "sri_prefix"])
def test_a_warm_up_row_is_one_the_graph_can_score(repository, kit, model):
    config = kit.config_of(repository / model)
    assert [(x.batch_size, x.count) for x in config.model_warmup] == [(1, 1), (8, 1)]
    for sample in config.model_warmup:
        assert sample.inputs.keys() == {x.name for x in config.input}
        row = {}
        for edge in config.input:
            data = sample.inputs[edge.name]
            assert (data.data_type, list(data.dims)) == (edge.data_type, list(edge.dims))
            found = np.fromfile(repository / model / "warmup" / data.input_data_file, kit.dtypes[onnx_type(edge)])
            row[edge.name] = found.reshape(1, *(edge.reshape.shape if edge.HasField("reshape") else edge.dims))
        run = load((repository / model / "1" / "model.onnx").read_bytes(), model)
        assert run(["valid"], row)[0].tolist() == [True]


def onnx_type(edge):
    return edge.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[edge.data_type].name


def test_the_state_of_a_sequence_begins_with_nan_and_is_never_sent(repository, kit):
    config = kit.config_of(repository / "sri_step_sensitive")
    (state,) = config.sequence_batching.state
    (initial,) = state.initial_state
    values = np.fromfile(repository / "sri_step_sensitive" / "initial_state" / initial.data_file, "<f4")
    assert np.isnan(values).all() and len(values) == CELLS * LAYERS
    assert (initial.data_type, list(initial.dims)) == (state.data_type, [CELLS, LAYERS])
    assert config.sequence_batching.WhichOneof("strategy_choice") == "oldest"
    # A server that warms up a model with a state ends with a segmentation fault: seen with 2.51.
    assert not config.model_warmup and not config.HasField("dynamic_batching")


def test_options_reach_the_configuration(bundle, tmp_path, kit):
    options = Options(
        name="team-7", step=True, max_batch=2, instances=3, queue_delay_us=0, sequences=5, idle_seconds=7
    )  # fmt: skip
    target = write_repository(tmp_path / "models", bundle, options)
    assert names(target) == ["team-7_prefix", "team-7_signal", "team-7_step_sensitive"]
    prefix, step = kit.config_of(target / "team-7_prefix"), kit.config_of(target / "team-7_step_sensitive")
    assert (prefix.max_batch_size, prefix.instance_group[0].count) == (2, 3)
    assert prefix.dynamic_batching.max_queue_delay_microseconds == 0
    assert step.sequence_batching.oldest.max_candidate_sequences == 5
    assert step.sequence_batching.max_sequence_idle_microseconds == 7_000_000


@pytest.mark.parametrize(
    "wrong", [{"name": "a/b"}, {"name": ""}, {"name": "../x"}, {"max_batch": 0}, {"instances": 0}, {"gpu": True}]
)
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValidationError):
        Options(**wrong)


def test_a_session_has_one_thread_and_an_arena(repository, kit):
    parameters = kit.config_of(repository / "sri_signal").parameters
    keys = ["intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena"]
    assert [parameters[key].string_value for key in keys] == ["1", "1", "0", "1"]


@pytest.mark.parametrize("model", MODELS)
def test_the_models_say_whose_they_are_and_what_is_too_high(repository, bundle, kit, model):
    parameters = kit.config_of(repository / model).parameters
    assert parameters["sri_digest"].string_value == bundle.digest
    for rule, entry in bundle.manifest.rules.items():
        assert float(parameters[f"sri_threshold_{rule}"].string_value) == entry.value


@pytest.mark.parametrize("model", MODELS)
def test_models_and_manifest_are_the_bundles_own_bytes(repository, bundle, model):
    graph = model.split("_")[1]
    assert (repository / model / "manifest.json").read_bytes() == bundle.unlisted["manifest.json"]
    found = (repository / model / "1" / "model.onnx").read_bytes()
    assert sha256(found) == bundle.manifest.files[f"{graph}.onnx"].sha256


def test_a_signature_goes_along(bundle, tmp_path):
    signed = Bundle(bundle.path, bundle.manifest, bundle.files, {**bundle.unlisted, SIGNATURE: b"as it was"})
    write_repository(tmp_path / "models", signed, Options())
    assert (tmp_path / "models" / "sri_signal" / SIGNATURE).read_bytes() == b"as it was"


def test_two_exports_are_the_same_bytes(parts, repository, tmp_path, kit):
    again = kit.exporter(full=True, step=True, max_batch=8).export(parts, tmp_path / "again")
    assert content(again) == content(repository)


def test_secrets_are_there_on_request_only_and_marked(parts, repository, tmp_path, kit):
    plain = kit.exporter().export(parts, tmp_path / "plain")
    assert names(plain) == ["sri_prefix", "sri_signal"]
    assert "SENSITIVE" not in (plain / "README.md").read_text()
    anchor = parts.anchors.harmless[0, 0, :4].tobytes()
    assert not any(anchor in each for each in content(plain).values())
    assert names(repository) == MODELS
    readme = (repository / "README.md").read_text()
    assert all(f"`{model}` **SENSITIVE**" in readme for model in MODELS if "sensitive" in model)


def test_a_graph_the_bundle_does_not_have_is_named(kit, parts, tmp_path, bundle):
    graphs = {name: entry for name, entry in bundle.manifest.graphs.items() if name != "step"}
    few = Bundle(bundle.path, bundle.manifest.model_copy(update={"graphs": graphs}), bundle.files, bundle.unlisted)
    with pytest.raises(BundleError, match="no graph 'step'"):
        write_repository(tmp_path / "models", few, Options(step=True))
    assert list(tmp_path.iterdir()) == []


def test_the_tier_of_a_detector_is_stated(tmp_path, kit):
    made = kit.exporter().export(kit.parts_of(FromPython()), tmp_path / "models")
    assert kit.config_of(made / "sri_signal").parameters["sri_tier"].string_value == "python"


def test_text_means_the_same_in_one_line_and_in_many(bundle):
    short, long = ({"name": name, "input": [{"name": 'a "b" \\', "dims": [1, -1]}]} for name in ("x", "x" * 200))
    parsed = text_format.Parse(to_text(short), ModelConfig()), text_format.Parse(to_text(long), ModelConfig())
    assert [list(config.input[0].dims) for config in parsed] == [[1, -1]] * 2
    assert {config.input[0].name for config in parsed} == {'a "b" \\'}
    assert all(b"\r" not in each for name, each in repository_files(bundle, Options()).items() if "pbtxt" in name)
