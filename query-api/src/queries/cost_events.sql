-- Events of a time range, [from, to). Conditions are appended, and then the order and the limit.
SELECT
    event_id, request_id, api_key_id, provider, model, source,
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, cost_microdollars,
    cost_breakdown_input, cost_breakdown_output, cost_breakdown_cached, cost_breakdown_reasoning,
    cost_breakdown_tool_definition, duration_ms, session_id, trace_id, customer_id, tags,
    created_at, received_at
FROM cost_events
WHERE org_id = {org:UUID}
    AND created_at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND created_at < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
