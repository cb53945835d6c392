-- Name of each Stripe customer, or of one: that of the latest month before {end} that has one.
-- FINAL keeps the largest version of a month, which may have taken its name away. An empty
-- {customer} means all.
SELECT stripe_customer_id AS customer, argMaxIf(customer_name, month, customer_name != '') AS name
FROM stripe_customer_names FINAL
WHERE org_id = {org:UUID}
    AND month < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND ({customer:String} = '' OR stripe_customer_id = {customer:String})
GROUP BY stripe_customer_id
HAVING name != ''
