//! What the settings mean to librdkafka.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::config::KafkaLogConfig;

/// Properties that carry a guarantee or have a setting of their own. A prefix ends with a dot.
const RESERVED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "builtin.features",
    "check.crcs",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "enable.ssl.certificate.verification",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "isolation.level",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "request.required.acks",
    "retries",
    "sasl.",
    "security.protocol",
    "session.timeout.ms",
    "ssl.",
    "test.",
    "transactional.id",
];

/// Returns whether a property cannot be given by an operator.
pub(super) fn is_reserved(name: &str) -> bool {
    let matches =
        |reserved: &&str| name == *reserved || (reserved.ends_with('.') && name.starts_with(*reserved));
    RESERVED.iter().any(matches)
}

impl KafkaLogConfig {
    /// Returns what every client of the cluster needs.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set_log_level(RDKafkaLogLevel::Notice)
            .set("client.id", "marginstream")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set(
                "topic.metadata.refresh.interval.ms",
                millis(self.metadata_refresh),
            )
            .set("metadata.max.age.ms", millis(3 * self.metadata_refresh));
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client.set("bootstrap.servers", self.brokers.join(","));
        self.security.apply(&mut client);
        client
    }

    /// Returns what the producer needs.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        // The queue is bounded before it, in bytes that cover the overhead of small records too.
        let max_queued_kib = 2 * (self.max_queued_bytes.max(self.max_batch_bytes()) >> 10);
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", self.compression.as_str())
            .set("linger.ms", millis(self.linger))
            .set("message.max.bytes", self.max_batch_bytes().to_string())
            .set("message.timeout.ms", millis(self.delivery_timeout))
            .set(
                "request.timeout.ms",
                millis(self.delivery_timeout.min(self.request_timeout)),
            )
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", max_queued_kib.to_string());
        client
    }

    /// Returns what a client needs that looks up metadata, offsets, and the commits of `group`.
    pub(super) fn reader(&self, group: Option<&str>) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed");
        if let Some(group) = group {
            client.set("group.id", group);
        }
        client
    }

    /// Returns what a member of `group` needs that may come to own all of `num_partitions`.
    pub(super) fn member(&self, group: &str, num_partitions: u32) -> ClientConfig {
        let share = self.max_prefetch_bytes / (num_partitions.max(1) as usize);
        let prefetch_bytes = share.min(self.max_partition_prefetch_bytes).max(256 << 10);
        let mut client = self.reader(Some(group));
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set(
                "heartbeat.interval.ms",
                millis((self.session_timeout / 5).min(Duration::from_secs(3))),
            )
            // Where a position is not in the log any more the reader sees it by the offset that comes.
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            // The queue of each partition is its own, so this bounds each of them.
            .set("queued.max.messages.kbytes", (prefetch_bytes >> 10).to_string())
            .set(
                "max.partition.fetch.bytes",
                prefetch_bytes.min(4 << 20).to_string(),
            )
            .set(
                "fetch.max.bytes",
                (50 << 20).max(self.max_batch_bytes()).to_string(),
            )
            .set(
                "receive.message.max.bytes",
                (100 << 20).max(2 * self.max_batch_bytes()).to_string(),
            )
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "100");
        client
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_ahead_is_shared_by_the_partitions() {
        let config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        for (num_partitions, kib) in [(1, "32768"), (4, "16384"), (64, "1024"), (100_000, "256")] {
            let member = config.member("g", num_partitions);
            assert_eq!(member.get("queued.max.messages.kbytes"), Some(kib));
        }
    }
}
