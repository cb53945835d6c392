"""The published client `nullspend`, unchanged, against a server. Prints one JSON object.

    published_client.py report|retry|read URL KEY
    published_client.py error URL KEY METHOD PATH
"""

import json
import sys

from nullspend import NullSpend
from nullspend.errors import NullSpendError
from nullspend.types import CostBreakdown, CostEventInput, ListCostEventsOptions


def event(number, **more):
    return CostEventInput(
        provider="openai",
        model="gpt-4o",
        input_tokens=100 + number,
        output_tokens=10,
        cost_microdollars=1_000 + number,
        **more,
    )


def report(client):
    full = event(
        0,
        cached_input_tokens=7,
        reasoning_tokens=3,
        cost_breakdown=CostBreakdown(input=600, output=300, cached=100, reasoning=None),
        duration_ms=250,
        session_id="s-1",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        event_type="llm",
        tags={"team": "search"},
        customer="globex",
    )
    single = client.report_cost(full)["data"]
    batch = client.report_cost_batch([event(number, customer="initech") for number in range(1, 5)])

    @client.track_tool(cost=0.02, tool_name="web_search", customer="globex")
    def search(query):
        return query

    search("x")
    who = client._request("GET", "/api/auth/introspect")
    return {"single": single, "batch": batch, "who": who}


def read(client):
    walked, cursor = [], None
    while True:
        page = client.list_cost_events(ListCostEventsOptions(limit=2, cursor=cursor))
        walked += [[found.id, found.model, found.cost_microdollars, found.customer_id] for found in page.data]
        cursor = page.cursor
        if cursor is None:
            break
    summary = client.get_cost_summary("7d")
    return {
        "walked": walked,
        "totals": summary.totals,
        "models": summary.models,
        "providers": summary.providers,
        "tools": summary.tools,
        "traces": summary.traces,
        "costBreakdown": summary.cost_breakdown,
    }


def error(client, method, path):
    try:
        client._request(method, path, None if method == "GET" else {"events": []})
    except NullSpendError as refusal:
        return {"status": refusal.status_code, "code": refusal.code}
    return {"status": 200, "code": None}


mode, url, key = sys.argv[1:4]
retries = 4 if mode == "retry" else 0
with NullSpend(base_url=url, api_key=key, max_retries=retries, retry_base_delay_s=0.3) as client:
    answer = {
        "report": lambda: report(client),
        "retry": lambda: client.report_cost(event(9, customer="hooli")),
        "read": lambda: read(client),
        "error": lambda: error(client, *sys.argv[4:6]),
    }[mode]()
print(json.dumps(answer))
