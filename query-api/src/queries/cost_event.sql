-- One event: cost_event_ids says when it was, which finds the row by its key.
SELECT
    event_id, request_id, api_key_id, provider, model, source,
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, cost_microdollars,
    cost_breakdown_input, cost_breakdown_output, cost_breakdown_cached, cost_breakdown_reasoning,
    cost_breakdown_tool_definition, duration_ms, session_id, trace_id, customer_id, tags,
    created_at, received_at
FROM cost_events
WHERE org_id = {org:UUID}
    AND created_at IN (SELECT created_at FROM cost_event_ids WHERE org_id = {org:UUID} AND event_id = {event_id:UUID})
    AND event_id = {event_id:UUID}
ORDER BY created_at
LIMIT 1
