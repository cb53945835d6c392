#!/usr/bin/env bash
# Checks the files of this directory with the tools that read them, and names what it could not check.
# helm, promtool and docker compose are used where they are installed, the rest comes from PyPI.
set -euo pipefail
cd "$(dirname "$0")"
kubernetes_versions=(1.27 1.31 1.37)

not_checked() {
  echo "NOT CHECKED: $*"
}

has() {
  command -v "$1" >/dev/null
}

install_tools() {
  ./require.sh python3 "Python 3.9 or later, with venv (Debian: python3-venv)"
  [ -x check-venv/bin/python ] || python3 -m venv check-venv
  cmp --silent check-requirements.txt check-venv/installed.txt && return
  check-venv/bin/pip install --quiet --disable-pip-version-check --requirement check-requirements.txt \
    || { echo "error: pip could not install deploy/check-requirements.txt; check the network and pip's index setting" >&2; exit 1; }
  cp check-requirements.txt check-venv/installed.txt
}

# Renders the chart with the values in $2... and checks each object against the schemas of Kubernetes.
check_chart() {
  local version=$1 rendered
  shift
  rendered=$(mktemp)
  helm template check helm/marginstream --kube-version "$version.0" "$@" > "$rendered"
  check-venv/bin/kubernetes-validate --quiet --strict --kubernetes-version "$version" "$rendered"
  rm -f "$rendered"
}

echo "==> scripts"
for script in ./*.sh ./*/*.sh; do bash -n "$script"; done

install_tools

echo "==> YAML"
check-venv/bin/yamllint --strict --config-data \
  '{extends: default, rules: {line-length: disable, document-start: disable, braces: {max-spaces-inside: 0}, comments-indentation: disable}}' \
  compose.yaml prometheus grafana/provisioning helm/marginstream/Chart.yaml helm/marginstream/values.yaml

echo "==> compose.yaml"
check-venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml
if has docker && docker compose version >/dev/null 2>&1; then
  MARGINSTREAM_PASSWORD=check docker compose --file compose.yaml config --quiet
else
  not_checked "compose.yaml by docker compose itself (install its plugin)"
fi

echo "==> Dockerfile"
if has docker && docker info >/dev/null 2>&1; then
  docker build --check --file Dockerfile ..
else
  not_checked "the Dockerfile (no Docker daemon answers)"
fi

echo "==> Helm chart"
if has helm; then
  helm lint --quiet --strict helm/marginstream --set secret.existing=check
  for version in "${kubernetes_versions[@]}"; do
    check_chart "$version" --set secret.existing=check
    check_chart "$version" --set secret.warehouseUrl=http://h:8123/m,secret.controlUrl=postgres://h/m \
      --set eventLog.sasl.mechanism=SCRAM-SHA-512,eventLog.sasl.user=u,secret.kafkaPassword=p,eventLog.caSecret=ca
  done
  if helm template check helm/marginstream --kube-version 1.31.0 >/dev/null 2>&1; then
    echo "error: the chart renders without any way to the stores" >&2
    exit 1
  fi
  not_checked "the ServiceMonitor (its schema comes with the Prometheus operator)"
else
  not_checked "the Helm chart (go install helm.sh/helm/v3/cmd/helm@latest)"
fi

echo "==> queries, variables, dashboard, ClickHouse configuration"
check-venv/bin/python check.py
if has promtool; then
  promtool check config --lint=all prometheus/prometheus.yaml
  promtool test rules prometheus/rules_test.yaml
else
  not_checked "rules and their tests by promtool (it comes with Prometheus)"
fi
not_checked "the ClickHouse configuration by a server of its own"
