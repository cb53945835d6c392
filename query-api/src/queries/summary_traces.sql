-- Traces are no dimension of a roll-up: there are as many as the agents' runs.
SELECT trace_id, sum(toInt128(cost_microdollars)) AS cost, toInt128(count()) AS request_count
FROM cost_events
WHERE org_id = {org:UUID} AND created_at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND trace_id != ''
GROUP BY trace_id
ORDER BY cost DESC, trace_id
LIMIT {limit:UInt32}
