-- Delta of table cost_by_customer_month: what margins are made of.
SELECT
    org_id,
    date_trunc('month', created_at) AS month,
    customer_id,
    model,
    sum(cost_microdollars) AS cost_microdollars,
    count(*) AS requests
FROM events
GROUP BY org_id, date_trunc('month', created_at), customer_id, model
