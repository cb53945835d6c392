-- Revenue of each Stripe customer, or of one, in three consecutive months, oldest first, in
-- microdollars. An empty {customer} means all.
SELECT
    stripe_customer_id AS customer,
    sumIf(toInt128(revenue_microdollars), month = fromUnixTimestamp64Milli({month_1:Int64}, 'UTC')) AS amount_1,
    sumIf(toInt128(revenue_microdollars), month = fromUnixTimestamp64Milli({month_2:Int64}, 'UTC')) AS amount_2,
    sumIf(toInt128(revenue_microdollars), month = fromUnixTimestamp64Milli({month_3:Int64}, 'UTC')) AS amount_3
FROM revenue_by_month
WHERE org_id = {org:UUID}
    AND month >= fromUnixTimestamp64Milli({month_1:Int64}, 'UTC')
    AND month < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND ({customer:String} = '' OR stripe_customer_id = {customer:String})
GROUP BY stripe_customer_id
