"""What is committed for servers: pinned, hardened, closed to the outside, and in step with the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kizu_fast.settings import known_variables
from kizu_fast.worker import metrics

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.triton.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PLANS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "deploy/compose.plans.yml").read_text())["services"]  # laid over the other file
DECODE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.decode.yml").read_text())["services"]["worker"]  # likewise
EVERY = {**PLANS, **SERVICES}
BUILT = ("export", "worker", "plans", "check")
MANIFESTS = [document for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
BOARD = json.loads((ROOT / "deploy/grafana/dashboards/kizu_fast.json").read_text())
DOCKERFILES = sorted((ROOT / "deploy/docker").glob("*.Dockerfile"))


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in MANIFESTS if document["kind"] == kind]


def containers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(pod, container) of every workload."""
    pods = [document["spec"]["template"]["spec"] for document in MANIFESTS if document["kind"] in ("Deployment", "Job")]
    return [(pod, container) for pod in pods for container in pod["containers"]]


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    tag = EVERY[name]["image"].rpartition(":")[2]

    assert tag != "latest"
    assert re.search(r"\d+\.\d+", tag)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_nothing_is_published_beyond_loopback(name: str) -> None:
    assert all(str(port).startswith("127.0.0.1:") for port in EVERY[name].get("ports", []))
    assert EVERY[name].get("network_mode") != "host"


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"postgres"}))
def test_every_service_of_ours_is_read_only_and_without_rights(name: str) -> None:
    service = EVERY[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"postgres", *BUILT}))
def test_foreign_images_run_as_an_ordinary_account(name: str) -> None:
    assert not EVERY[name]["user"].startswith(("0", "root"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_our_images_run_as_an_ordinary_account_and_install_from_a_lock(path: Path) -> None:
    lines = path.read_text().splitlines()

    assert "USER 10001:10001" in lines
    built_on_ours = any(line.startswith("FROM kizu-fast-") for line in lines)
    assert built_on_ours or any(line.startswith("RUN pip install --no-deps -r setup/") for line in lines)
    assert all(re.search(r":\d+\.\d+", line) for line in lines if line.startswith("FROM"))


def test_what_the_images_copy_is_let_through_to_the_engine() -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {source for path in DOCKERFILES for line in path.read_text().splitlines() if line.startswith("COPY") for source in line.split()[1:-1]}

    assert all(any(Path(source).match(pattern) for pattern in let_through) for source in copied)
    assert all((ROOT / source).exists() for source in copied)


def test_every_lasting_service_has_a_health_check_and_those_with_models_infer() -> None:
    lasting = {name: service for name, service in SERVICES.items() if service.get("restart") != "no"}

    assert all("healthcheck" in service for service in lasting.values())
    assert "/infer" in SERVICES["triton"]["healthcheck"]["test"][-1]
    assert SERVICES["worker"]["healthcheck"]["test"][1:] == ["kizu-fast", "doctor", "--backend", "triton"]


def test_a_server_of_plans_starts_only_after_they_were_found_to_be_of_this_machine() -> None:
    assert PLANS["triton"]["depends_on"] == {"check": {"condition": "service_completed_successfully"}}
    assert PLANS["check"]["command"][:4] == ["python", "-m", "export.plans", "--check"]
    assert "--model-repository=/models-plans" in PLANS["triton"]["command"]


def test_an_image_that_another_one_stands_on_is_built_first() -> None:
    (base,) = [line.split()[1] for line in (ROOT / "deploy/docker/plans.Dockerfile").read_text().splitlines() if line.startswith("FROM")]

    assert base == SERVICES["export"]["image"]
    assert PLANS["plans"]["build"]["additional_contexts"] == {base: "service:export"}


def test_a_worker_that_decodes_on_the_gpu_has_one_and_the_decoder_that_was_tested() -> None:
    (install,) = [line for line in (ROOT / DECODE["build"]["dockerfile"]).read_text().splitlines() if "nvidia-dali" in line]
    pinned = next(word for word in install.split() if word.startswith("nvidia-dali")).rstrip(";")

    assert any(line.startswith(pinned + " ;") for line in (ROOT / "setup/dev.lock").read_text().splitlines())
    assert (DECODE["build"]["args"], DECODE["environment"]) == ({"DECODE": "gpu"}, {"KIZU_DECODE": "gpu"})
    assert "gpu" in DECODE["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"]
    assert DECODE["image"] != SERVICES["worker"]["image"]


def test_the_request_of_triton_s_health_check_fits_the_text_tower() -> None:
    (tokens,) = json.loads((ROOT / "deploy/health/clip_text.json").read_text())["inputs"]

    assert (tokens["name"], tokens["datatype"], tokens["shape"]) == ("tokens", "INT32", [1, 77])
    assert len(tokens["data"]) == 77


def test_triton_gets_a_gpu_room_for_shared_memory_and_places_for_models_and_engines() -> None:
    triton = SERVICES["triton"]

    assert triton["deploy"]["resources"]["reservations"]["devices"] == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert triton["shm_size"] == "1gb"
    assert {"models:/models:ro", "engines:/engines"} <= set(triton["volumes"])
    assert (triton["ipc"], SERVICES["worker"]["ipc"]) == ("shareable", "service:triton")


def test_every_volume_that_is_named_exists_and_is_used() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"] if not volume.startswith((".", "/", "$"))}

    assert used == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", BUILT)
def test_services_set_only_what_the_settings_know(name: str) -> None:
    foreign = {"HOME"}

    assert set(EVERY[name]["environment"]) - foreign <= known_variables()


def test_pods_run_without_rights_and_with_limits() -> None:
    for pod, container in containers():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_pods_and_services_run_the_same_commands_and_images() -> None:
    for _, container in containers():
        service = SERVICES[container["name"]]
        assert container["image"] == service["image"]
        if container["name"] == "export":
            assert container["command"] == [word.replace("${WEIGHTS:-official}", "official") for word in service["command"]]
        else:
            assert container["command"] == service["command"]


def test_no_manifest_holds_a_secret_or_opens_a_port_to_the_world() -> None:
    assert not of_kind("Secret")
    assert all(service["spec"].get("type", "ClusterIP") == "ClusterIP" for service in of_kind("Service"))
    assert not of_kind("Ingress")


def test_keda_scales_the_worker_by_due_jobs_and_down_to_none() -> None:
    (scaled,) = of_kind("ScaledObject")
    (deployment,) = [one for one in of_kind("Deployment") if one["metadata"]["name"] == scaled["spec"]["scaleTargetRef"]["name"]]
    (trigger,) = scaled["spec"]["triggers"]
    (authentication,) = of_kind("TriggerAuthentication")

    assert "replicas" not in deployment["spec"]  # an apply would undo KEDA's number
    assert scaled["spec"]["minReplicaCount"] == 0
    assert trigger["type"] == "postgresql"
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert authentication["spec"]["secretTargetRef"][0]["parameter"] == "connection"


def test_the_board_shows_every_metric_of_the_worker_and_no_other() -> None:
    shown = set(re.findall(r"kizu_[a-z_]+", " ".join(target["expr"] for panel in BOARD["panels"] for target in panel["targets"])))
    told = set(re.findall(r"kizu_[a-z_]+", metrics.__doc__ or ""))

    assert {re.sub("_(sum|count)$", "", name) for name in shown} == told


def test_the_board_reads_the_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]

    assert {panel["datasource"]["uid"] for panel in BOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_asks_the_port_that_workers_serve() -> None:
    (worker, triton) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]

    assert str(worker["dns_sd_configs"][0]["port"]) == SERVICES["worker"]["command"][-1]
    assert triton["static_configs"][0]["targets"] == ["triton:8002"]
