//! The backends of the distributed services: Kafka, a ClickHouse server and Postgres, by URL.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use event_log::{ClientCertificate, KafkaLogConfig, Sasl, SaslMechanism, Security, Tls, TopicSpec};
use schemas::topic;

use super::log::{DEAD_LETTERS_RETENTION_BYTES, RetentionArgs};
use super::{ConfigError, conflict};
use crate::secret::Secret;

/// Where the services find each other's data.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Backends")]
pub struct BackendArgs {
    /// The warehouse: `http://user:password@host:8123/database`, a ClickHouse server of version 24.8
    /// or later, or `marginstream clickhouse`.
    #[arg(
        long,
        env = "MARGINSTREAM_WAREHOUSE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub warehouse: Option<Secret>,

    /// The control store: `postgres://user:password@host:5432/database`, or `sqlite:<path>` where all
    /// services run on one machine.
    #[arg(
        long,
        env = "MARGINSTREAM_CONTROL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub control: Option<Secret>,

    /// The event log: `kafka://host:9092,host2:9092`.
    #[arg(long, env = "MARGINSTREAM_EVENT_LOG", value_name = "URL")]
    pub event_log: Option<String>,

    /// How Kafka is reached and used.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}

/// How Kafka is reached and used.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Partitions of the topic of cost events where it is created: the most processors that can share
    /// the work. Adding partitions later takes `marginstream log use-partitions`.
    #[arg(long, env = "MARGINSTREAM_KAFKA_PARTITIONS", value_name = "COUNT", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub kafka_partitions: u32,

    /// Copies of each record, on so many brokers. Of three, one broker may be lost without a pause and
    /// without loss; 1 is for trying out.
    #[arg(long, env = "MARGINSTREAM_KAFKA_REPLICATION", value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15))]
    pub kafka_replication: u16,

    /// How long Kafka waits for a silent processor before it gives its partitions to others, in
    /// milliseconds. The brokers' `group.min.session.timeout.ms` is the least.
    #[arg(long, env = "MARGINSTREAM_KAFKA_SESSION_TIMEOUT_MS", value_name = "MILLISECONDS", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1_000..=300_000))]
    pub kafka_session_timeout_ms: u32,

    /// Connects over TLS; the brokers' certificates are checked against the system's authorities.
    #[arg(long, env = "MARGINSTREAM_KAFKA_TLS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub kafka_tls: bool,

    /// Certificate authorities, in PEM, that vouch for the brokers instead. Switches TLS on.
    #[arg(long, env = "MARGINSTREAM_KAFKA_CA_FILE", value_name = "FILE")]
    pub kafka_ca_file: Option<PathBuf>,

    /// This client's certificate, in PEM, where the brokers want one; with `--kafka-key-file`.
    #[arg(long, env = "MARGINSTREAM_KAFKA_CERTIFICATE_FILE", value_name = "FILE")]
    pub kafka_certificate_file: Option<PathBuf>,

    /// The key of `--kafka-certificate-file`, in PEM, without a password.
    #[arg(long, env = "MARGINSTREAM_KAFKA_KEY_FILE", value_name = "FILE")]
    pub kafka_key_file: Option<PathBuf>,

    /// How this client signs in: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; with user and password.
    #[arg(long, env = "MARGINSTREAM_KAFKA_SASL_MECHANISM", value_name = "MECHANISM")]
    pub kafka_sasl_mechanism: Option<SaslMechanism>,

    /// The user that signs in.
    #[arg(long, env = "MARGINSTREAM_KAFKA_SASL_USER", value_name = "USER")]
    pub kafka_sasl_user: Option<String>,

    /// The user's password.
    #[arg(
        long,
        env = "MARGINSTREAM_KAFKA_SASL_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub kafka_sasl_password: Option<Secret>,
}

impl BackendArgs {
    /// Returns whether any backend is named.
    pub(crate) fn is_named(&self) -> bool {
        self.warehouse.is_some() || self.control.is_some() || self.event_log.is_some()
    }

    pub(crate) fn warehouse(&self) -> Result<&str, ConfigError> {
        required("warehouse", self.warehouse.as_ref().map(Secret::expose))
    }

    pub(crate) fn control(&self) -> Result<&str, ConfigError> {
        required("control", self.control.as_ref().map(Secret::expose))
    }

    /// Returns the settings of the log, with the topics that the services need.
    pub(crate) fn kafka_log(&self, retention: &RetentionArgs) -> Result<KafkaLogConfig, ConfigError> {
        let url = required("event-log", self.event_log.as_deref())?;
        let kafka = &self.kafka;
        let defaults = KafkaLogConfig::from_url(url, kafka.topics(retention))
            .map_err(|error| conflict("event-log", error.to_string()))?;
        Ok(KafkaLogConfig {
            replication_factor: kafka.kafka_replication,
            // One broker may be away.
            min_insync_replicas: kafka.kafka_replication.saturating_sub(1).max(1),
            session_timeout: Duration::from_millis(kafka.kafka_session_timeout_ms.into()),
            security: Security {
                tls: kafka.tls()?,
                sasl: kafka.sasl()?,
            },
            ..defaults
        })
    }
}

impl KafkaArgs {
    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let client = match (&self.kafka_certificate_file, &self.kafka_key_file) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate_file: certificate.clone(),
                key_file: key.clone(),
                key_password: None,
            }),
            (None, None) => None,
            _ => {
                return Err(conflict(
                    "kafka-certificate-file",
                    "goes with --kafka-key-file".to_owned(),
                ));
            }
        };
        let is_on = self.kafka_tls || self.kafka_ca_file.is_some() || client.is_some();
        Ok(is_on.then(|| Tls {
            ca_file: self.kafka_ca_file.clone(),
            client,
        }))
    }

    fn sasl(&self) -> Result<Option<Sasl>, ConfigError> {
        match (
            self.kafka_sasl_mechanism,
            &self.kafka_sasl_user,
            &self.kafka_sasl_password,
        ) {
            (Some(mechanism), Some(user), Some(password)) => Ok(Some(Sasl {
                mechanism,
                user: user.clone(),
                password: event_log::Secret::new(password.expose()),
            })),
            (None, None, None) => Ok(None),
            _ => Err(conflict(
                "kafka-sasl-mechanism",
                "goes with --kafka-sasl-user and --kafka-sasl-password".to_owned(),
            )),
        }
    }

    fn topics(&self, retention: &RetentionArgs) -> Vec<TopicSpec> {
        let kept = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            retention_bytes: None,
            retention: None,
            waits_for_groups: true,
        };
        vec![
            TopicSpec {
                partitions: self.kafka_partitions,
                retention_bytes: retention.bytes(),
                retention: retention.age(),
                ..kept(topic::COST_EVENTS)
            },
            kept(topic::INVOICES),
            kept(topic::DIMENSIONS),
            TopicSpec {
                retention_bytes: Some(DEAD_LETTERS_RETENTION_BYTES),
                waits_for_groups: false,
                ..kept(topic::DEAD_LETTERS)
            },
        ]
    }
}

fn required<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, ConfigError> {
    value.ok_or_else(|| conflict(name, "is required here".to_owned()))
}
