SELECT
    if(customer_id = '', '(none)', customer_id) AS value,
    sum(toInt128(cost_microdollars)) AS cost,
    sum(toInt128(requests)) AS request_count
FROM cost_by_hour
WHERE org_id = {org:UUID}
    AND hour >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND ({exclude_estimated:UInt8} = 0 OR NOT estimated)
GROUP BY customer_id
HAVING cost != 0 OR request_count != 0
ORDER BY cost DESC, value, customer_id
LIMIT {limit:UInt32}
