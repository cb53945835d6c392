-- All keys of the organization: their names, which break ties, are not here.
SELECT api_key_id, sum(toInt128(cost_microdollars)) AS cost, sum(toInt128(requests)) AS request_count
FROM cost_by_hour
WHERE org_id = {org:UUID}
    AND hour >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND ({exclude_estimated:UInt8} = 0 OR NOT estimated)
GROUP BY api_key_id
HAVING cost != 0 OR request_count != 0
ORDER BY cost DESC, api_key_id
