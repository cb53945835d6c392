//! The topics as an AsyncAPI document, for those who write to the log and read it without this code.

use serde_json::{Map, Value, json};

use crate::arrow::cost_event_schema;
use crate::record_schemas::{COST_EVENT, DEAD_LETTER_HEADERS, INVOICE, MAPPING_CHANGE};
use crate::topic;

/// File of the document, below `docs`.
pub const FILE: &str = "asyncapi.json";

/// Version of AsyncAPI's bindings for Kafka.
const BINDING_VERSION: &str = "0.5.0";

/// What a schema file is: <https://www.asyncapi.com/docs/reference/specification/v3.0.0>, "Multi Format
/// Schema Object".
const SCHEMA_FORMAT: &str = "application/schema+json;version=2020-12";

/// A topic, what marginstream does with it, and the names of its messages.
struct Channel {
    name: &'static str,
    topic: &'static str,
    title: &'static str,
    description: &'static str,
    messages: &'static [&'static str],
    settings: fn() -> Value,
    operations: &'static [Operation],
}

/// What marginstream does with a topic; `action` is `send` or `receive`.
struct Operation {
    name: &'static str,
    action: &'static str,
    summary: &'static str,
}

const CHANNELS: [Channel; 4] = [
    Channel {
        name: "costEvents",
        topic: topic::COST_EVENTS,
        title: "Cost events",
        description: "What each call of a model or tool cost. An event belongs to the partition that is the first \
            8 bytes of its event_id, as an unsigned big-endian integer, modulo the number of partitions in use. One \
            that stands elsewhere is moved there and counted once, so that a producer may leave the choice to its \
            client.",
        messages: &["costEvent", "costEventBatch"],
        settings: limited_retention,
        operations: &[
            Operation {
                name: "receiveCostEvents",
                action: "receive",
                summary: "Counts each event once; what cannot be counted becomes a dead letter.",
            },
            Operation {
                name: "sendCostEvents",
                action: "send",
                summary: "Publishes what the HTTP API accepted.",
            },
        ],
    },
    Channel {
        name: "invoices",
        topic: topic::INVOICES,
        title: "Invoices",
        description: "States of Stripe invoices. The partition is XXH3-64 with seed 0 of the key's bytes, modulo the \
            number of partitions. The order in the partition is the order of an invoice's states: the last one \
            counts.",
        messages: &["invoice"],
        settings: unlimited_retention,
        operations: &[
            Operation {
                name: "receiveInvoices",
                action: "receive",
                summary: "Moves revenue by the difference to the state before.",
            },
            Operation {
                name: "sendInvoices",
                action: "send",
                summary: "Publishes what an operator imports.",
            },
        ],
    },
    Channel {
        name: "dimensions",
        topic: topic::DIMENSIONS,
        title: "Dimensions",
        description: "Changes of customer mappings. The partition is XXH3-64 with seed 0 of the key's bytes, modulo \
            the number of partitions. A change may stand here several times; the largest version counts.",
        messages: &["mappingChange"],
        settings: unlimited_retention,
        operations: &[
            Operation {
                name: "receiveMappingChanges",
                action: "receive",
                summary: "Keeps the latest state of each mapping for those who query with SQL.",
            },
            Operation {
                name: "sendMappingChanges",
                action: "send",
                summary: "Publishes the control store's outbox.",
            },
        ],
    },
    Channel {
        name: "deadLetters",
        topic: topic::DEAD_LETTERS,
        title: "Dead letters",
        description: "What could not be counted, at least once: copies have the same key. The partition is XXH3-64 \
            with seed 0 of the key's bytes, modulo the number of partitions.",
        messages: &["deadLetter"],
        settings: limited_retention,
        operations: &[Operation {
            name: "sendDeadLetters",
            action: "send",
            summary: "Publishes what could not be counted, with the place where it stood and a stable reason.",
        }],
    },
];

/// Returns the document. It refers to the files of [`crate::record_schemas`] that stand beside it.
#[must_use]
pub fn document() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "marginstream: topics of the event log",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Records that marginstream reads and writes where its log is Kafka. Amounts are integer \
                microdollars (1 USD = 1,000,000), times are UTC. docs/records.md says the same for people.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": topic::JSON,
        "channels": by_name(CHANNELS.iter().map(|channel| (channel.name, channel.to_value()))),
        "operations": by_name(CHANNELS.iter().flat_map(Channel::operations)),
        "components": {"messages": {
            "costEvent": cost_event(),
            "costEventBatch": cost_event_batch(),
            "invoice": invoice(),
            "mappingChange": mapping_change(),
            "deadLetter": dead_letter(),
        }},
    })
}

impl Channel {
    fn to_value(&self) -> Value {
        let reference = |message: &str| json!({"$ref": format!("#/components/messages/{message}")});
        json!({
            "address": self.topic,
            "title": self.title,
            "description": self.description,
            "messages": by_name(self.messages.iter().map(|message| (*message, reference(message)))),
            "bindings": {"kafka": {
                "topic": self.topic,
                "topicConfiguration": (self.settings)(),
                "bindingVersion": BINDING_VERSION,
            }},
        })
    }

    fn operations(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.operations
            .iter()
            .map(|operation| (operation.name, operation.to_value(self)))
    }
}

impl Operation {
    fn to_value(&self, channel: &Channel) -> Value {
        let reference = |message: &&str| {
            let path = format!("#/channels/{}/messages/{message}", channel.name);
            json!({"$ref": path})
        };
        let mut value = json!({
            "action": self.action,
            "channel": {"$ref": format!("#/channels/{}", channel.name)},
            "summary": self.summary,
            "messages": channel.messages.iter().map(reference).collect::<Vec<_>>(),
        });
        if self.action == "receive" {
            value["bindings"] = json!({"kafka": {
                "groupId": {
                    "type": "string",
                    "const": topic::PROCESSOR_GROUP,
                    "description": "Consumers of others need a group of another name.",
                },
                "bindingVersion": BINDING_VERSION,
            }});
        }
        value
    }
}

fn by_name<'n>(entries: impl Iterator<Item = (&'n str, Value)>) -> Map<String, Value> {
    entries.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// How long records stay is the operator's setting.
fn limited_retention() -> Value {
    json!({"cleanup.policy": ["delete"], "message.timestamp.type": "LogAppendTime"})
}

/// All records stay: revenue and mappings can be rebuilt from them.
fn unlimited_retention() -> Value {
    json!({
        "cleanup.policy": ["delete"], "message.timestamp.type": "LogAppendTime",
        "retention.ms": -1, "retention.bytes": -1,
    })
}

fn cost_event() -> Value {
    json!({
        "title": "One cost event",
        "contentType": topic::JSON,
        "headers": content_type_header(topic::JSON),
        "payload": schema_file(COST_EVENT),
        "bindings": keyed("The 16 bytes of event_id. Not read: a producer may send another key, or none.", "binary"),
    })
}

fn cost_event_batch() -> Value {
    let schema = cost_event_schema();
    let columns = schema.fields().iter().map(|field| {
        json!({
            "name": field.name(),
            "type": field.data_type().to_string(),
            "nullable": field.is_nullable(),
        })
    });
    json!({
        "title": "Many cost events",
        "contentType": topic::ARROW_STREAM,
        "headers": content_type_header(topic::ARROW_STREAM),
        "payload": {
            "type": "string",
            "format": "binary",
            "description": "One Arrow IPC stream of one or more record batches, whose columns are exactly those of \
                x-arrow-columns, in this order. UUIDs are in network byte order; a nil api_key_id means none.",
        },
        "x-arrow-columns": columns.collect::<Vec<_>>(),
        "bindings": keyed("Empty.", "binary"),
    })
}

fn invoice() -> Value {
    json!({
        "title": "One state of an invoice",
        "contentType": topic::JSON,
        "payload": schema_file(INVOICE),
        "bindings": keyed("<org_id>:<invoice_id>", "text"),
    })
}

fn mapping_change() -> Value {
    json!({
        "title": "One change of a customer mapping",
        "contentType": topic::JSON,
        "payload": schema_file(MAPPING_CHANGE),
        "bindings": keyed("The mapping's UUID as text.", "uuid"),
    })
}

fn dead_letter() -> Value {
    json!({
        "title": "What could not be counted",
        "description": "The content type is that of the record that could not be counted, if it had one.",
        "contentType": "application/octet-stream",
        "headers": schema_file(DEAD_LETTER_HEADERS),
        "payload": {
            "type": "string",
            "format": "binary",
            "description": "The bytes of the record; of a conflict, the event as a JSON record.",
        },
        "bindings": keyed("<source-topic>:<source-partition>:<source-offset>:<source-row-index>", "text"),
    })
}

fn content_type_header(content_type: &str) -> Value {
    json!({
        "type": "object",
        "properties": {topic::CONTENT_TYPE: {"type": "string", "const": content_type}},
        "required": [topic::CONTENT_TYPE],
    })
}

fn schema_file(file: &str) -> Value {
    json!({"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": format!("./{file}")}})
}

fn keyed(description: &str, format: &str) -> Value {
    json!({"kafka": {
        "key": {"type": "string", "format": format, "description": description},
        "bindingVersion": BINDING_VERSION,
    }})
}
