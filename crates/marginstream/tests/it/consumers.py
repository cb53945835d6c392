"""Writes and reads the topics as docs/records.md says, with no code of marginstream's own.

    consumers.py write DOCS BOOTSTRAP ORG
    consumers.py read DOCS BOOTSTRAP NUM_EVENTS NUM_LETTERS

`write` takes {"events": [...], "conflict": event} on standard input, in the form of the HTTP API. `read` prints the
distinct dead letters as JSON, once it has seen so many of them and so many events in the form of JSON.
"""

import datetime, hashlib, json, pathlib, sys, time, uuid
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from jsonschema import Draft202012Validator

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
COMMAND, DOCS, BOOTSTRAP, *REST = sys.argv[1:]


def validator(name):
    return Draft202012Validator(json.loads((pathlib.Path(DOCS) / "records" / f"{name}.schema.json").read_text()))


EVENT, LETTER = validator("cost-event"), validator("dead-letter-headers")


def event_id(org, request_id, provider):
    request = request_id.encode()
    name = org.bytes + len(request).to_bytes(4, "big") + request + provider.encode()
    namespace = uuid.UUID("6f1a53c6-0b0e-5b7d-9a55-7d0f4c1ea201")
    return uuid.UUID(bytes=hashlib.sha1(namespace.bytes + name).digest()[:16], version=5)


def record(org, event):
    """Members that may be missing are missing."""
    tags = {**event["tags"], "customer": event["customer"]}
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return {
        "event_id": f"ns_evt_{event_id(org, event['idempotencyKey'], event['provider'])}",
        "request_id": event["idempotencyKey"], "org_id": f"ns_org_{org}", "provider": event["provider"],
        "model": event["model"], "event_type": "llm", "source": "api", "input_tokens": event["inputTokens"],
        "output_tokens": event["outputTokens"], "cached_input_tokens": 0, "reasoning_tokens": 0,
        "cost_microdollars": event["costMicrodollars"], "duration_ms": event["durationMs"],
        "session_id": event["sessionId"], "trace_id": "", "tool_name": "", "tool_server": "",
        "customer_id": event["customer"], "tags": sorted(tags.items(), key=lambda tag: tag[0].encode()),
        "created_at": now, "received_at": now,
    }


def bad_records(good):
    """Yields the reason, the content type and the value of records that cannot be counted."""
    missing = {name: value for name, value in good.items() if name != "model"}
    yield "undecodable", JSON, '{"event_id": '
    yield "undecodable", ARROW, "these bytes are no Arrow stream"
    yield "schema_mismatch", JSON, json.dumps({**good, "price": 1})
    yield "schema_mismatch", JSON, json.dumps(missing)
    yield "invalid_value", JSON, json.dumps({**good, "request_id": "another"})
    yield "invalid_value", JSON, json.dumps({**good, "tags": good["tags"][::-1]})
    yield "unknown_content_type", "text/csv", json.dumps(good)
    yield "unknown_content_type", b"\xff\xfe", json.dumps(good)
    yield "unknown_content_type", None, json.dumps(good)


def write(org):
    org, given = uuid.UUID(org), json.load(sys.stdin)
    failures = []
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True})

    def send(value, headers, key=None):
        failed = lambda error, _: failures.append(error) if error else None
        producer.produce("cost-events", value, key=key, headers=headers, on_delivery=failed)

    events = [record(org, event) for event in given["events"]]
    for event in events:
        EVENT.validate(json.loads(json.dumps(event)))
        key = uuid.UUID(event["event_id"].removeprefix("ns_evt_")).bytes
        # A retry of another client: one with the key as documented, one without.
        send(json.dumps(event), [("content-type", JSON)], key)
        send(json.dumps(event), [("content-type", JSON)])
    for reason, content_type, value in bad_records(events[0]):
        typed = [] if content_type is None else [("content-type", content_type)]
        send(value, [("expected-reason", reason), *typed])
    send(json.dumps(record(org, given["conflict"])), [("content-type", JSON)])
    if producer.flush(60) or failures:
        sys.exit(f"not all was written: {len(failures)} failed, {failures[:3]}")


def is_event(headers, value):
    if headers.get("content-type") != JSON.encode():
        return False
    try:
        return EVENT.is_valid(json.loads(value))
    except ValueError:
        return False


def check(records, letters):
    for key, (headers, value) in letters.items():
        LETTER.validate(headers)
        place = [headers[f"source-{part}"] for part in ("topic", "partition", "offset", "row-index")]
        assert key == ":".join(place), (key, headers)
        if headers["reason"] == "idempotency_conflict":
            assert EVENT.is_valid(json.loads(value)), value
            continue
        source_headers, source_value = records[key.rpartition(":")[0]]
        assert source_headers["expected-reason"].decode() == headers["reason"], headers
        assert source_value == value, (source_value, value)
    for place, (headers, value) in records.items():
        # Arrow is read by others; what is neither an event nor Arrow must be a dead letter.
        is_arrow = headers.get("content-type") == ARROW.encode() and value.startswith(b"\xff\xff\xff\xff")
        assert is_arrow or is_event(headers, value) or f"{place}:0" in letters, (place, headers, value)


def read(num_events, num_letters):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "consumers-test", "enable.auto.commit": False})
    topics = consumer.list_topics(timeout=30).topics
    consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING)
                     for name in ("cost-events", "dead-letters") for partition in topics[name].partitions])
    records, events, letters = {}, set(), {}

    def is_done():
        sources = (key.rpartition(":")[0] for key in letters)
        return len(events) >= num_events and len(letters) >= num_letters and all(key in records for key in sources)

    deadline = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < deadline, f"{len(events)} events and {len(letters)} dead letters in 60 s"
        message = consumer.poll(1)
        if message is None:
            continue
        assert not message.error(), message.error()
        headers, value = dict(message.headers() or []), message.value()
        if message.topic() == "dead-letters":
            texts = {name: text.decode() for name, text in headers.items()}
            letters[message.key().decode()] = (texts, value)
            continue
        records[f"{message.topic()}:{message.partition()}:{message.offset()}"] = (headers, value)
        if is_event(headers, value):
            events.add(json.loads(value)["event_id"])
    consumer.close()
    check(records, letters)
    assert len(events) == num_events and len(letters) == num_letters, (len(events), len(letters))
    for key, (headers, value) in letters.items():
        print(json.dumps({"key": key, "reason": headers["reason"], "raw": value.decode()}))


if COMMAND == "write":
    write(*REST)
else:
    read(*map(int, REST))
