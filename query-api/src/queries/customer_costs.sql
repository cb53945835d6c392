-- Cost of each customer in three consecutive months, oldest first, in microdollars.
SELECT
    customer_id AS customer,
    sumIf(toInt128(cost_microdollars), month = fromUnixTimestamp64Milli({month_1:Int64}, 'UTC')) AS amount_1,
    sumIf(toInt128(cost_microdollars), month = fromUnixTimestamp64Milli({month_2:Int64}, 'UTC')) AS amount_2,
    sumIf(toInt128(cost_microdollars), month = fromUnixTimestamp64Milli({month_3:Int64}, 'UTC')) AS amount_3
FROM cost_by_customer_month
WHERE org_id = {org:UUID}
    AND month >= fromUnixTimestamp64Milli({month_1:Int64}, 'UTC')
    AND month < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND customer_id != ''
GROUP BY customer_id
