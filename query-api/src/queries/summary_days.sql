SELECT
    toString(toDate(hour, 'UTC')) AS day,
    sum(toInt128(cost_microdollars)) AS cost,
    sum(toInt128(requests)) AS request_count,
    sum(toInt128(cost_breakdown_input)) AS input_cost,
    sum(toInt128(cost_breakdown_output)) AS output_cost,
    sum(toInt128(cost_breakdown_cached)) AS cached_cost,
    sum(toInt128(cost_breakdown_reasoning)) AS reasoning_cost
FROM cost_by_hour
WHERE org_id = {org:UUID} AND hour >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
GROUP BY day
HAVING request_count != 0
ORDER BY day
