#!/usr/bin/env python3
"""Writes prometheus/rules/*.yml once more, as the PrometheusRule that the Prometheus operator reads.

Runs from the project's folder; `make kubernetes-rules` calls it after a change to the rules. A test compares the two.
"""

import pathlib

FROM = ("recording", "alerts")
TO = pathlib.Path("deploy/kubernetes/base/prometheus-rule.yaml")

HEAD = """\
# Written by `make kubernetes-rules` out of prometheus/rules: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: glassbox
  labels:
    app.kubernetes.io/name: glassbox
spec:
  groups:
"""


def groups(name):
    _, text = pathlib.Path(f"prometheus/rules/{name}.yml").read_text().split("\ngroups:\n")
    return "".join(f"  {line}\n" if line else "\n" for line in text.splitlines())


TO.write_text(HEAD + "\n".join(groups(name) for name in FROM))
