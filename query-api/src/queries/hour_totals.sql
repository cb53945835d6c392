SELECT sum(toInt128(cost_microdollars)) AS cost, sum(toInt128(requests)) AS request_count
FROM cost_by_hour
WHERE org_id = {org:UUID}
    AND hour >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND ({exclude_estimated:UInt8} = 0 OR NOT estimated)
