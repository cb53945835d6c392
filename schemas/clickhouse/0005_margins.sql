-- Exact integer arithmetic, as in the API: percent in hundredths rounded half up, tier from the
-- unrounded ratio.
CREATE OR REPLACE VIEW customer_period_margins AS
SELECT * EXCEPT (scaled, divisor) FROM
(
SELECT
    org_id,
    tag_value AS customer_id,
    any(stripe_customer) AS stripe_customer_id,
    toDate(month) AS period_start,
    sum(revenue) AS revenue_microdollars,
    sum(cost) AS cost_microdollars,
    revenue_microdollars - cost_microdollars AS margin_microdollars,
    toInt128(margin_microdollars) * 20000 + revenue_microdollars AS scaled,
    greatest(toInt128(revenue_microdollars) * 2, 1) AS divisor,
    toDecimal128(if(revenue_microdollars > 0, intDiv(scaled, divisor) - (modulo(scaled, divisor) < 0), 0), 2) / 100 AS margin_percent,
    multiIf(
        revenue_microdollars <= 0, if(cost_microdollars > 0 OR revenue_microdollars < 0, 'critical', 'at_risk'),
        toInt128(margin_microdollars) * 100 >= toInt128(revenue_microdollars) * 50, 'healthy',
        toInt128(margin_microdollars) * 100 >= toInt128(revenue_microdollars) * 20, 'moderate',
        margin_microdollars >= 0, 'at_risk',
        'critical') AS health_tier
FROM
(
    SELECT m.org_id AS org_id, m.tag_value AS tag_value, m.stripe_customer_id AS stripe_customer, c.month AS month, 0 AS revenue, c.cost_microdollars AS cost
    FROM cost_by_customer_month AS c
    INNER JOIN (SELECT org_id, tag_value, stripe_customer_id FROM customer_mappings FINAL WHERE deleted = 0 AND tag_key = 'customer') AS m
        ON m.org_id = c.org_id AND m.tag_value = c.customer_id
    UNION ALL
    SELECT m.org_id, m.tag_value, m.stripe_customer_id, r.month, r.revenue_microdollars, 0
    FROM revenue_by_month AS r
    INNER JOIN (SELECT org_id, tag_value, stripe_customer_id FROM customer_mappings FINAL WHERE deleted = 0 AND tag_key = 'customer') AS m
        ON m.org_id = r.org_id AND m.stripe_customer_id = r.stripe_customer_id
)
GROUP BY org_id, tag_value, month
HAVING revenue_microdollars != 0 OR cost_microdollars != 0
);
