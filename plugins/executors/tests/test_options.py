"""`--workers` and `--ray` as the command line reads them. Nothing is started."""

from importlib.util import find_spec

import pytest
from click.testing import CliRunner
from sri_plugin_executors.local import LocalExecutor
from sri_plugin_executors.on_ray import RayExecutor

from sri_sdk.cli import main
from sri_sdk.cli.workers import executor_of
from sri_sdk.errors import ConfigError, MissingExtra


def test_without_either_this_process_generates():
    assert executor_of(None, None) is None


def test_workers_are_processes_of_this_machine():
    made = executor_of(3, None)
    assert isinstance(made, LocalExecutor) and made.config.workers == 3


@pytest.mark.parametrize("workers", [None, 16])
def test_an_address_is_a_ray_cluster(workers):
    made = executor_of(workers, "head:6379")
    assert isinstance(made, RayExecutor)
    assert (made.config.address, made.config.workers) == ("head:6379", workers)


@pytest.mark.parametrize("ray", [None, "auto"])
def test_patience_is_an_option_of_whoever_has_the_workers(ray):
    assert executor_of(2, ray, 90.0).config.patience == 90
    assert executor_of(2, ray).config.patience is None


def test_patience_without_workers_is_refused():
    with pytest.raises(ConfigError, match="add --workers N or --ray ADDRESS"):
        executor_of(None, None, 90.0)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_the_error_says_what_to_install():
    for refused in (lambda: RayExecutor().start(b"{}"), lambda: RayExecutor().check(())):
        with pytest.raises(MissingExtra, match=r'pip install "sri-sdk\[scale\]"'):
            refused()


@pytest.mark.parametrize("command", ["fit", "eval"])
def test_no_workers_are_refused_before_anything_is_read(command):
    done = CliRunner().invoke(main, [command, "nowhere.yaml", "--workers", "0"])
    assert done.exit_code == 2 and "--workers" in done.output
