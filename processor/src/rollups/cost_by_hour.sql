-- Delta of table cost_by_hour for the new events of one batch.
SELECT
    org_id,
    date_trunc('hour', created_at) AS hour,
    customer_id,
    provider,
    model,
    api_key_id,
    event_type,
    source,
    estimated,
    sum(cost_microdollars) AS cost_microdollars,
    coalesce(sum(cost_breakdown_input), 0) AS cost_breakdown_input,
    coalesce(sum(cost_breakdown_output), 0) AS cost_breakdown_output,
    coalesce(sum(cost_breakdown_cached), 0) AS cost_breakdown_cached,
    coalesce(sum(cost_breakdown_reasoning), 0) AS cost_breakdown_reasoning,
    count(*) AS requests,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_input_tokens) AS cached_input_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    coalesce(sum(duration_ms), 0) AS duration_ms,
    count(duration_ms) AS requests_with_duration
FROM events
GROUP BY org_id, date_trunc('hour', created_at), customer_id, provider, model, api_key_id, event_type, source, estimated
