-- Cost of one customer by month and model: months ascending, within a month the dearest first.
SELECT
    month,
    model,
    sum(toInt128(cost_microdollars)) AS cost,
    sum(toInt128(requests)) AS request_count
FROM cost_by_customer_month
WHERE org_id = {org:UUID}
    AND month >= fromUnixTimestamp64Milli({month_1:Int64}, 'UTC')
    AND month < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND customer_id = {customer:String}
GROUP BY month, model
HAVING cost != 0 OR request_count != 0
ORDER BY month, cost DESC, model
