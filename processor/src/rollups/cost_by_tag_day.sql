-- Delta of table cost_by_tag_day: an event counts once under each of its tags.
SELECT
    org_id,
    date_trunc('day', created_at) AS day,
    tag_key,
    tag_value,
    estimated,
    sum(cost_microdollars) AS cost_microdollars,
    count(*) AS requests
FROM event_tags
GROUP BY org_id, date_trunc('day', created_at), tag_key, tag_value, estimated
