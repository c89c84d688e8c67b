"""Holds docker-compose.yml against its published schema and against itself. Prints what each container of Glassbox is set to.

    deploy_compose.py PROJECT
"""

import copy
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema_rs
import yaml

PROJECT = pathlib.Path(sys.argv[1])
OWN_IMAGE = "glassbox:0.1.0"

# Nothing in its image could ask whether it is well.
WITHOUT_HEALTH_CHECK = {"collector", "jaeger", "keys"}

# Who may reach what, and who may be reached from outside of the containers, on this machine alone.
NETWORKS = {
    "front": {"api", "split-api", "grafana", "jaeger"},
    "data": {"api", "split-api", "worker", "redis", "postgres"},
    "watch": {"api", "split-api", "worker", "prometheus", "grafana"},
    "traces": {"api", "split-api", "worker", "collector", "jaeger"},
}
PUBLISHED = {"api": 8080, "split-api": 8081, "grafana": 3000, "jaeger": 16686}
PROFILES = {"split-api": "split", "worker": "split", "collector": "tracing", "jaeger": "tracing", "keys": "keys"}


def main():
    document = interpolate(yaml.safe_load((PROJECT / "docker-compose.yml").read_text()))
    check_schema(document)
    services = document["services"]
    assert set(services) == set(PROFILES) | {"api", "redis", "postgres", "prometheus", "grafana"}
    for name, service in services.items():
        check_service(name, service, document)
    check_networks(services, document)
    check_secrets(services, document)
    check_what_is_mounted(services)
    mistakes_are_found(document)
    own = {name: service for name, service in services.items() if service["image"] == OWN_IMAGE}
    print(json.dumps({name: service.get("environment", {}) for name, service in own.items()}))


def interpolate(told):
    """${NAME:-default} with nothing set, and $$; anything else that Compose knows is not used here."""
    if isinstance(told, dict):
        return {key: interpolate(value) for key, value in told.items()}
    if isinstance(told, list):
        return [interpolate(value) for value in told]
    return re.sub(r"\$(\$|\{[^}]*\}|\w*)", value_of, told) if isinstance(told, str) else told


def value_of(match):
    if match[0] == "$$":
        return "$"
    known = re.fullmatch(r"\$\{[A-Z_]+:-([^}]*)\}", match[0])
    assert known, f"not understood: {match[0]}"
    return known[1]


def check_schema(document):
    # Found and not imported: only its data is used.
    (package,) = importlib.util.find_spec("check_jsonschema").submodule_search_locations
    told = json.loads(pathlib.Path(package, "builtin_schemas/vendor/compose-spec.json").read_text())
    errors = [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
              for error in jsonschema_rs.validator_for(told).iter_errors(document)]
    assert not errors, errors


def mistakes_are_found(document):
    """A check that lets everything through would not be noticed."""
    for harm in (
        lambda api: api.update(restarts="always"),
        lambda api: api.update(ports=8080),
        lambda api: api["deploy"]["resources"]["limits"].update(memory=True),
    ):
        bad = copy.deepcopy(document)
        harm(bad["services"]["api"])
        try:
            check_schema(bad)
        except AssertionError:
            continue
        raise AssertionError("a mistake was not found")


def check_service(name, service, document):
    assert service.get("profiles", []) == ([PROFILES[name]] if name in PROFILES else []), name
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), f"{name}: {service['image']} is not pinned"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
    assert service["security_opt"] == ["no-new-privileges:true"], name
    if name not in ("redis", "postgres"):
        # Those two become another user first.
        assert service["cap_drop"] == ["ALL"], name
    for port in service.get("ports", []):
        assert port.startswith(f"127.0.0.1:{PUBLISHED[name]}:"), f"{name} is published as {port}"
    assert ("ports" in service) == (name in PUBLISHED), name
    assert has_health_check(name, service) == (name not in WITHOUT_HEALTH_CHECK), name
    for other, how in service.get("depends_on", {}).items():
        healthy = "service_healthy" if other not in WITHOUT_HEALTH_CHECK else "service_started"
        assert how["condition"] == healthy, f"{name} waits for {other}"
        profile = document["services"][other].get("profiles", service.get("profiles"))
        assert profile == service.get("profiles"), f"{name} waits for {other}, which may not be there"
    if service["image"] == OWN_IMAGE:
        assert service["build"]["context"] == "." and service["read_only"] is True
        version = re.search(r'^version = "(.*)"', (PROJECT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        assert service["image"].endswith(f":{version}"), "the image has another version than Cargo.toml"


def has_health_check(name, service):
    if service.get("healthcheck") == {"disable": True}:
        return False
    # Ours comes with the image.
    return "healthcheck" in service or service["image"] == OWN_IMAGE


def check_networks(services, document):
    assert set(document["networks"]) == set(NETWORKS)
    for network, members in NETWORKS.items():
        found = {name for name, service in services.items() if network in service.get("networks", [])}
        assert found == members, f"{network}: {found}"
        settings = document["networks"][network] or {}
        assert settings.get("internal", False) == (network != "front"), network
    assert services["keys"]["network_mode"] == "none"
    # The one name that Prometheus looks for.
    told = yaml.safe_load((PROJECT / "deploy/compose/prometheus.yml").read_text())
    (job,) = told["scrape_configs"]
    (search,) = job["dns_sd_configs"]
    for name in ("api", "split-api", "worker"):
        assert services[name]["networks"]["watch"]["aliases"] == search["names"] == [job["job_name"]] == ["glassbox"]
        listen = "WORKER_LISTEN" if name == "worker" else "METRICS_LISTEN"
        (address,) = [value for key, value in services[name]["environment"].items() if key.endswith(listen)]
        assert address == f"0.0.0.0:{search['port']}"


def check_secrets(services, document):
    used = {secret for service in services.values() for secret in service.get("secrets", [])}
    assert used == set(document["secrets"]), used
    folder = PROJECT / "deploy/compose/secrets"
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home, "secrets")
        command = [PROJECT / "deploy/compose/secrets.sh", home]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        files = {path.name: path.read_text().strip() for path in home.iterdir()}
        # Everything that Compose hands out is made, and nothing else.
        wanted = {PROJECT / secret["file"] for secret in document["secrets"].values()}
        assert {folder / name for name in files} == wanted
        assert len(made.splitlines()) == len(files) and home.stat().st_mode & 0o777 == 0o700
        assert subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout == b"", "what is there is made again"
        password = files["redis.conf"].removeprefix("requirepass ")
        assert len(password) == 48 and files["redis_url"] == f"redis://:{password}@redis:6379"
        password = files["postgres_password"]
        assert len(password) == 48 and files["postgres_url"] == f"postgres://glassbox:{password}@postgres:5432/glassbox"
        assert len(set(files.values())) == len(files)
    # None of them stands in what is committed or sent to a builder.
    assert "/deploy/compose/secrets/\n" in (PROJECT / ".gitignore").read_text()
    assert "\ndeploy\n" in (PROJECT / ".dockerignore").read_text()
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|URL|SECRET|TOKEN", key):
                assert key.endswith("_FILE") and value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {key}"


def check_what_is_mounted(services):
    mounted = {}
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("."):
                assert (PROJECT / source).exists(), f"{name} mounts {source}, which is not there"
                assert mode == ["ro"], f"{name} may write to {source}"
                mounted[name, target] = source
    # Rules, dashboards and data source are where the two programs look for them.
    prometheus = yaml.safe_load((PROJECT / mounted["prometheus", "/etc/prometheus/prometheus.yml"]).read_text())
    assert prometheus["rule_files"] == ["rules/*.yml"] and mounted["prometheus", "/etc/prometheus/rules"] == "./prometheus/rules"
    provider = yaml.safe_load((PROJECT / "grafana/provisioning/dashboards/glassbox.yml").read_text())
    path = provider["providers"][0]["options"]["path"]
    assert mounted["grafana", path] == "./grafana/dashboards"
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (PROJECT / "grafana/dashboards" / os.path.relpath(home, path)).is_file()
    assert mounted["grafana", "/etc/grafana/provisioning/dashboards"] == "./grafana/provisioning/dashboards"
    (here,) = yaml.safe_load((PROJECT / mounted["grafana", "/etc/grafana/provisioning/datasources/prometheus.yml"])
                             .read_text())["datasources"]
    (bare,) = yaml.safe_load((PROJECT / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert here == {**bare, "url": "http://prometheus:9090"}
    # Keys are written by one, and read by those that ask for them: a folder, so that a new file is seen.
    keys = {name: volume for name, service in services.items() for volume in service.get("volumes", [])
            if volume.startswith("keys:")}
    assert keys == {"keys": "keys:/etc/glassbox/keys", **dict.fromkeys(("api", "split-api"), "keys:/etc/glassbox/keys:ro")}


main()
