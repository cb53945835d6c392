-- The finest groups that the lists by model, provider, tool and source are sums of.
SELECT
    provider,
    model,
    source,
    event_type = 'tool' OR provider = 'mcp' AS is_tool,
    sum(toInt128(cost_microdollars)) AS cost,
    sum(toInt128(requests)) AS request_count,
    sum(toInt128(cost_by_hour.input_tokens)) AS input_tokens,
    sum(toInt128(cost_by_hour.output_tokens)) AS output_tokens,
    sum(toInt128(cost_by_hour.cached_input_tokens)) AS cached_input_tokens,
    sum(toInt128(cost_by_hour.reasoning_tokens)) AS reasoning_tokens,
    sum(toInt128(cost_by_hour.duration_ms)) AS duration_ms,
    sum(toInt128(cost_by_hour.requests_with_duration)) AS requests_with_duration
FROM cost_by_hour
WHERE org_id = {org:UUID} AND hour >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
GROUP BY provider, model, source, is_tool
HAVING request_count != 0
