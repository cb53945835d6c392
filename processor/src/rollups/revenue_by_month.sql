-- Delta of table revenue_by_month: the states of a batch's invoices with their revenue, and the
-- states that they replace with theirs negated.
SELECT
    org_id,
    stripe_customer_id,
    date_trunc('month', created_at) AS month,
    sum(revenue_microdollars) AS revenue_microdollars,
    sum(invoices) AS invoices
FROM invoice_changes
GROUP BY org_id, stripe_customer_id, date_trunc('month', created_at)
HAVING sum(revenue_microdollars) <> 0 OR sum(invoices) <> 0
