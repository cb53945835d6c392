SELECT sum(toInt128(cost_microdollars)) AS cost, sum(toInt128(requests)) AS request_count
FROM cost_by_tag_day
WHERE org_id = {org:UUID}
    AND tag_key = {tag_key:String}
    AND day >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND ({exclude_estimated:UInt8} = 0 OR NOT estimated)
