"""Holds deploy/kubernetes against the published schemas and against itself. Prints what its ConfigMaps and containers set.

    deploy_kubernetes.py PROJECT
"""

import copy
import importlib.util
import json
import pathlib
import sys
import tomllib

import deploy_kustomize
import jsonschema_rs
import yaml

PROJECT = pathlib.Path(sys.argv[1])
HOME = PROJECT / "deploy/kubernetes"

# The oldest that knows all that is used, and the newest there is.
VERSIONS = ("1.30", "1.37")

# Resources of the Prometheus operator: no published schema here, so the keys that it documents.
OPERATOR = {
    "ServiceMonitor": {"jobLabel", "selector", "endpoints"},
    "PrometheusRule": {"groups"},
}

# What their references to each other are read against.
BASE = "json-schema:///api"

# What must be there once for every Deployment.
BESIDE = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Service")

# Seconds that the server may take after drain.timeout: the last rows (LAST_ROWS) and the last spans (LAST_SPANS).
LAST = 5 + 2


def main():
    printed = {}
    for overlay in ("single", "split"):
        objects = deploy_kustomize.build(HOME / "overlays" / overlay)
        for item in objects:
            check_schema(item)
        by_kind = {}
        for item in objects:
            by_kind.setdefault(item["kind"], []).append(item)
        check_namespaces(objects)
        check_rules(by_kind)
        deployments = by_kind["Deployment"]
        names = sorted(item["metadata"]["name"] for item in deployments)
        assert names == (["glassbox"] if overlay == "single" else ["glassbox", "glassbox-worker"]), names
        for deployment in deployments:
            check_pod(deployment, by_kind)
            check_what_is_beside(deployment, by_kind)
            name = f"{overlay}/{deployment['metadata']['name']}"
            printed[name] = settings(deployment, by_kind)
    mistakes_are_found()
    print(json.dumps(printed))


def schema(version, name):
    # Found and not imported: only its data is used.
    (package,) = importlib.util.find_spec("kubernetes_validate").submodule_search_locations
    return json.loads(pathlib.Path(package, "kubernetes-json-schema", f"v{version}.0-local-strict", name).read_text())


def check_schema(item, versions=VERSIONS):
    kind, (group, _, version) = item["kind"], item["apiVersion"].rpartition("/")
    if group == "monitoring.coreos.com":
        assert version == "v1" and set(item["spec"]) == OPERATOR[kind], item
        return
    file = "-".join(filter(None, [kind.lower(), group.split(".")[0], version])) + ".json"
    for wanted in versions:
        definitions = schema(wanted, "_definitions.json")
        registry = jsonschema_rs.Registry([(f"{BASE}/_definitions.json", definitions)])
        told = {**schema(wanted, file), "$id": f"{BASE}/{file}"}
        told.pop("$schema", None)
        definitions.pop("$schema", None)
        validator = jsonschema_rs.Draft7Validator(told, registry=registry)
        errors = [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
                  for error in validator.iter_errors(item)]
        assert not errors, f"{kind} {item['metadata']['name']} in Kubernetes {wanted}: {errors}"


def mistakes_are_found():
    """A check that lets everything through would not be noticed."""
    good = yaml.safe_load((HOME / "base/deployment.yaml").read_text())
    for harm in (
        lambda spec: spec.update(replica=2),
        lambda spec: spec["template"]["spec"]["containers"][0]["startupProbe"].update(periodSeconds="1s"),
        lambda spec: spec["template"]["spec"].pop("containers"),
    ):
        bad = copy.deepcopy(good)
        harm(bad["spec"])
        try:
            check_schema(bad)
        except AssertionError:
            continue
        raise AssertionError(f"nothing was found in {bad}")


def check_namespaces(objects):
    for item in objects:
        if item["kind"] == "Namespace":
            assert item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        else:
            assert item["metadata"]["namespace"] == "glassbox", item["metadata"]


def check_rules(by_kind):
    (rule,) = by_kind["PrometheusRule"]
    files = [PROJECT / f"prometheus/rules/{name}.yml" for name in ("recording", "alerts")]
    assert sorted(files) == sorted((PROJECT / "prometheus/rules").iterdir())
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    assert rule["spec"]["groups"] == groups, "the rules were changed: run 'make kubernetes-rules'"


def check_pod(deployment, by_kind):
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (account,) = by_kind["ServiceAccount"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    # As the image has it.
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert f"\nUSER {user}\n" in (PROJECT / "Dockerfile").read_text()
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }
    assert ":" in container["image"] and not container["image"].endswith(":latest")
    for amount in ("requests", "limits"):
        assert set(container["resources"][amount]) == {"cpu", "memory"}
    spread = [constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for constraint in pod["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]

    volumes, mounts = {volume["name"] for volume in pod["volumes"]}, container["volumeMounts"]
    assert volumes == {mount["name"] for mount in mounts}
    # What a mount of one file shows is never changed again: keys must come as a folder.
    for mount in mounts:
        assert ("subPath" in mount) == (mount["name"] == "config"), mount

    ports = {port["name"] for port in container["ports"]}
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [probe["path"] for probe in paths.values()] == ["/healthz", "/healthz", "/readyz"]
    assert all(probe["port"] == "metrics" and "metrics" in ports for probe in paths.values())

    drain = config_of(pod, by_kind)["drain"]
    delay, timeout = (int(drain[key].removesuffix("s")) for key in ("delay", "timeout"))
    waits = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = waits + delay + timeout + LAST
    assert needed < pod["terminationGracePeriodSeconds"] <= needed + 10, f"a pod may need {needed} s to end"
    # Who asks /readyz hears twice that the server stops before it accepts nothing more.
    ready = container["readinessProbe"]
    assert delay >= ready["periodSeconds"] * ready["failureThreshold"]


def check_what_is_beside(deployment, by_kind):
    name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert "replicas" not in deployment["spec"], "the autoscaler says how many"
    beside = {}
    for kind in BESIDE:
        (beside[kind],) = [item for item in by_kind[kind] if item["metadata"]["name"] == name]
    assert beside["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    assert beside["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 2
    sources = [metric["type"] for metric in beside["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert sources == (["Resource", "External"] if name == "glassbox-worker" else ["Resource"])
    assert beside["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert beside["Service"]["spec"]["selector"] == labels
    policy = beside["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels and policy["policyTypes"] == ["Ingress", "Egress"]

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in beside["Service"]["spec"]["ports"]} == ports
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports
    # Metrics ask for no key: Prometheus alone gets there.
    for rule in policy["ingress"]:
        if {"port": "metrics"} in rule["ports"]:
            assert rule["from"] and len(rule["ports"]) == 1

    (monitor,) = by_kind["ServiceMonitor"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= beside["Service"]["metadata"]["labels"].items()
    assert beside["Service"]["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "glassbox"
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def config_of(pod, by_kind):
    (volume,) = [volume for volume in pod["volumes"] if "configMap" in volume]
    (config,) = [item for item in by_kind["ConfigMap"] if item["metadata"]["name"] == volume["configMap"]["name"]]
    # Its name ends in a hash of what it holds, so that a change replaces the pods.
    plain = {"metadata": {"name": "glassbox-config"}, "data": config["data"]}
    assert volume["configMap"]["name"] == f"glassbox-config-{deploy_kustomize.digest(plain)}"
    changed = {**plain, "data": {"glassbox.toml": config["data"]["glassbox.toml"] + " "}}
    assert deploy_kustomize.digest(changed) != deploy_kustomize.digest(plain)
    return tomllib.loads(config["data"]["glassbox.toml"])


def settings(deployment, by_kind):
    pod = deployment["spec"]["template"]["spec"]
    (config,) = [item for item in by_kind["ConfigMap"]]
    (container,) = pod["containers"]
    return {
        "file": config["data"]["glassbox.toml"],
        "variables": {entry["name"]: entry["value"] for entry in container.get("env", [])},
        "command": container["args"],
    }


main()
