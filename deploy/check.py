"""Checks what no tool of its own reads: queries, names of metrics and variables, the dashboard, XML. Run by check.sh."""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

import promql_parser
import yaml

DEPLOY = pathlib.Path(__file__).parent
METRICS = DEPLOY.parent / "docs" / "metrics.md"
OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")

faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def check_query(where, query):
    """A query parses, and names only metrics that the program has or a rule records."""
    query = query.replace("$__rate_interval", "5m")
    try:
        promql_parser.parse(query)
    except ValueError as error:
        fault(where, f"{error} in {query}")
    for name in re.findall(r"(?<![\w:])marginstream_\w+", query):
        if documented and name not in documented and OF_HISTOGRAM.sub("", name) not in documented:
            fault(where, f"no metric is called {name}")
    for name in re.findall(r"marginstream:[\w:]+", query):
        if name not in recorded:
            fault(where, f"no rule records {name}")


def check_rules():
    for group in rules["groups"]:
        for rule in group["rules"]:
            where = f"rules.yaml, {rule.get('alert') or rule.get('record')}"
            check_query(where, rule["expr"])
            if "alert" in rule and not {"summary", "description"} <= rule["annotations"].keys():
                fault(where, "an alert says what is wrong and what to do")


def check_dashboard():
    dashboard = json.loads((DEPLOY / "grafana" / "marginstream.json").read_text())
    taken = {}
    ids = set()
    for panel in dashboard["panels"]:
        where = f"dashboard, {panel['title']}"
        if panel["id"] in ids:
            fault(where, "its id is taken")
        ids.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or taken.setdefault((x, y), where) != where:
                    fault(where, f"lies over {taken.get((x, y), 'the edge')}")
        for target in panel.get("targets", []):
            check_query(where, target["expr"])
            if target["datasource"]["uid"] != "${datasource}":
                fault(where, "has a data source of its own")


def check_targets():
    """Prometheus asks services that compose.yaml has, on the port that they listen on."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    for scrape in config["scrape_configs"]:
        for static in scrape["static_configs"]:
            for target in static["targets"]:
                host, port = target.split(":")
                listen = compose["services"].get(host, {}).get("environment", {}).get("MARGINSTREAM_LISTEN", "")
                if not listen.endswith(f":{port}"):
                    fault("prometheus.yaml", f"nothing listens on {target}")


def check_variables():
    """Each variable that containers are given is one that the program reads."""
    sources = (DEPLOY.parent / "crates" / "marginstream" / "src").rglob("*.rs")
    known = {name for source in sources for name in re.findall(r'env = "(MARGINSTREAM_\w+)"', source.read_text())}
    charts = (DEPLOY / "helm" / "marginstream").rglob("*.yaml")
    helpers = DEPLOY / "helm" / "marginstream" / "templates" / "_helpers.tpl"
    for path in [DEPLOY / "compose.yaml", DEPLOY / "Dockerfile", helpers, *charts]:
        given = re.findall(r"^\s*(?:ENV |- name: )?(MARGINSTREAM_\w+)(?=[:=\s])", path.read_text(), re.M)
        for name in sorted(set(given) - known):
            fault(path.name, f"the program has no variable {name}")
        if path.name in ("compose.yaml", "configmap.yaml") and not given:
            fault(path.name, "gives no variables at all")


def check_xml():
    for path in (DEPLOY / "clickhouse").rglob("*.xml"):
        try:
            if ElementTree.parse(path).getroot().tag != "clickhouse":
                fault(path.name, "its root is not <clickhouse>")
        except ElementTree.ParseError as error:
            fault(path.name, error)


rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
documented = set(re.findall(r"^\| `(marginstream_\w+)`", METRICS.read_text(), re.M)) if METRICS.exists() else set()
if not documented:
    print("NOT CHECKED: names of metrics (docs/metrics.md lists none)")
check_rules()
check_dashboard()
check_targets()
check_variables()
check_xml()
if faults:
    sys.exit("\n".join(faults))
