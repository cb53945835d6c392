//! Topics at the start: made where they are missing, refused where they do not fit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode;
use tracing::info;

use super::cluster::Cluster;
use super::config::KafkaLogConfig;
use super::context::LogContext;
use super::error::{backend, backend_code, blocking, unusable};
use crate::{LogError, TopicSpec};

/// How often a topic that was made is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Makes missing topics, and checks those that are there.
///
/// # Errors
/// [`LogError::Config`] naming each topic and setting that does not fit, and the command that mends it.
pub(super) async fn ensure(cluster: &Arc<Cluster>) -> Result<(), LogError> {
    let config = cluster.config();
    let admin =
        AdminClient::from_config_and_context(&config.client(), LogContext::default()).map_err(unusable)?;
    let options = AdminOptions::new()
        .request_timeout(Some(config.request_timeout))
        .operation_timeout(Some(config.request_timeout));
    let mut misfits = Vec::new();
    for spec in &config.topics {
        let replicas = match replicas(cluster, spec).await? {
            Some(replicas) => replicas,
            None => create(cluster, &admin, &options, spec).await?,
        };
        let settings = describe(config, &admin, &options, spec).await?;
        misfits.extend(misfits_of(config, spec, &replicas, &|name| {
            value(&settings, name)
        }));
        cluster.note_partitions(&spec.name, replicas.len() as u32);
    }
    blocking("close a client", move || {
        drop(admin);
        Ok(())
    })
    .await?;
    if misfits.is_empty() {
        return Ok(());
    }
    Err(LogError::Config(misfits.join("; ")))
}

/// Returns a topic's settings. A broker that has not heard of a new topic yet, which another process may
/// have made, knows none of them; it is asked again.
async fn describe(
    config: &KafkaLogConfig,
    admin: &AdminClient<LogContext>,
    options: &AdminOptions,
    spec: &TopicSpec,
) -> Result<ConfigResource, LogError> {
    const WHAT: &str = "look up the settings of a topic";
    let deadline = Instant::now() + config.request_timeout;
    loop {
        let described = admin
            .describe_configs(&[ResourceSpecifier::Topic(&spec.name)], options)
            .await
            .map_err(backend(WHAT))?;
        match described.into_iter().next() {
            Some(Ok(settings)) if !settings.entries.is_empty() => return Ok(settings),
            Some(Err(code)) if code != RDKafkaErrorCode::UnknownTopicOrPartition => {
                return Err(backend_code(WHAT, code));
            }
            _ if Instant::now() > deadline => {
                return Err(backend_code(WHAT, RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

fn value(settings: &ConfigResource, name: &str) -> String {
    let entry = settings.get(name).and_then(|entry| entry.value.clone());
    entry.unwrap_or_else(|| "not set".to_owned())
}

async fn replicas(cluster: &Arc<Cluster>, spec: &TopicSpec) -> Result<Option<Vec<usize>>, LogError> {
    let (cluster, name) = (Arc::clone(cluster), spec.name.clone());
    blocking("look up a topic", move || cluster.replicas(&name)).await
}

/// Makes a topic and waits until it can be seen. Another process may make it at the same time.
async fn create(
    cluster: &Arc<Cluster>,
    admin: &AdminClient<LogContext>,
    options: &AdminOptions,
    spec: &TopicSpec,
) -> Result<Vec<usize>, LogError> {
    const WHAT: &str = "make a topic";
    let config = cluster.config();
    let settings = settings(config, spec);
    let (partitions, replication) = (spec.partitions as i32, i32::from(config.replication_factor));
    let mut topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(replication));
    for (name, value) in &settings {
        topic = topic.set(name, value);
    }
    for made in admin
        .create_topics(&[topic], options)
        .await
        .map_err(backend(WHAT))?
    {
        match made {
            Ok(_) => info!(topic = spec.name, partitions, replication, "topic made"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(backend_code(WHAT, code)),
        }
    }
    let deadline = Instant::now() + config.request_timeout;
    loop {
        // A topic shows before all of its partitions have a leader.
        match replicas(cluster, spec).await {
            Ok(Some(replicas)) if !replicas.is_empty() => return Ok(replicas),
            Err(error) if !error.is_retryable() => return Err(error),
            _ if Instant::now() > deadline => return Err(backend_code(WHAT, RDKafkaErrorCode::UnknownTopic)),
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// Returns the settings that the log stands on, as they are when it makes the topic.
fn settings(config: &KafkaLogConfig, spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let limit = |limit: Option<u128>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", config.min_insync_replicas.to_string()),
        ("max.message.bytes", config.max_batch_bytes().to_string()),
        ("retention.ms", limit(spec.retention.map(|age| age.as_millis()))),
        ("retention.bytes", limit(spec.retention_bytes.map(u128::from))),
    ]
}

/// Returns one sentence for each thing about the topic that does not fit.
fn misfits_of(
    config: &KafkaLogConfig,
    spec: &TopicSpec,
    replicas: &[usize],
    found: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let (name, brokers) = (&spec.name, config.brokers.join(","));
    let mut misfits = Vec::new();
    if replicas.len() < spec.partitions as usize {
        misfits.push(format!(
            "topic {name} has {} partitions and needs {}: run `kafka-topics.sh --bootstrap-server {brokers} \
             --alter --topic {name} --partitions {}`",
            replicas.len(),
            spec.partitions,
            spec.partitions
        ));
    }
    let fewest = replicas.iter().copied().min().unwrap_or(0);
    if fewest < usize::from(config.replication_factor) {
        misfits.push(format!(
            "topic {name} has {fewest} copies of a partition and needs {}: add copies with \
             `kafka-reassign-partitions.sh --bootstrap-server {brokers} --reassignment-json-file <plan> --execute`",
            config.replication_factor
        ));
    }
    let (mut wrong, mut mend) = (Vec::new(), Vec::new());
    for (setting, needed) in settings(config, spec) {
        if setting.starts_with("retention.") && !config.checks_retention {
            continue;
        }
        let found = found(setting);
        if !fits(setting, &found, &needed) {
            let at_least = if is_lower_bound(setting) && needed != "-1" {
                "at least "
            } else {
                ""
            };
            wrong.push(format!("{setting}={found} where {at_least}{needed} is needed"));
            mend.push(format!("{setting}={needed}"));
        }
    }
    if !mend.is_empty() {
        misfits.push(format!(
            "topic {name} has {}: run `kafka-configs.sh --bootstrap-server {brokers} --alter --topic {name} \
             --add-config {}`",
            wrong.join(", "),
            mend.join(",")
        ));
    }
    misfits
}

fn is_lower_bound(setting: &str) -> bool {
    matches!(
        setting,
        "min.insync.replicas" | "max.message.bytes" | "retention.ms" | "retention.bytes"
    )
}

/// Returns whether a value keeps what `needed` promises. Retention of -1 has no limit.
fn fits(setting: &str, found: &str, needed: &str) -> bool {
    if !is_lower_bound(setting) {
        return found == needed;
    }
    let number = |text: &str| match text.parse::<i128>() {
        Ok(-1) if setting.starts_with("retention") => Some(i128::MAX),
        Ok(number) => Some(number),
        Err(_) => None,
    };
    number(found) >= number(needed) && number(found).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TopicSpec {
        TopicSpec {
            name: "t".to_owned(),
            partitions: 4,
            retention_bytes: Some(1000),
            retention: None,
            waits_for_groups: true,
        }
    }

    #[test]
    fn a_topic_as_the_log_makes_it_fits() {
        let config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        let settings = settings(&config, &spec());
        let found = |name: &str| {
            settings
                .iter()
                .find(|(known, _)| *known == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(
            misfits_of(&config, &spec(), &[3; 4], &found),
            Vec::<String>::new()
        );
        assert_eq!(
            misfits_of(&config, &spec(), &[3; 9], &found),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_misfit_names_topic_setting_values_and_command() {
        let config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        let settings = settings(&config, &spec());
        let found = |name: &str| match name {
            "message.timestamp.type" => "CreateTime".to_owned(),
            "retention.bytes" => "999".to_owned(),
            _ => settings
                .iter()
                .find(|(known, _)| *known == name)
                .unwrap()
                .1
                .clone(),
        };
        let misfits = misfits_of(&config, &spec(), &[3, 1, 3], &found);
        assert_eq!(misfits.len(), 3, "{misfits:?}");
        assert!(misfits[0].contains("has 3 partitions and needs 4") && misfits[0].contains("--partitions 4"));
        assert!(misfits[1].contains("1 copies of a partition and needs 3"));
        assert!(
            misfits[2].starts_with(
                "topic t has message.timestamp.type=CreateTime where LogAppendTime is needed, \
             retention.bytes=999 where at least 1000 is needed: run `kafka-configs.sh --bootstrap-server a:1 \
             --alter --topic t --add-config message.timestamp.type=LogAppendTime,retention.bytes=1000`"
            ),
            "{}",
            misfits[2]
        );
    }

    #[test]
    fn no_limit_keeps_any_limit_but_not_the_other_way_round() {
        assert!(fits("retention.ms", "-1", "5000"));
        assert!(fits("retention.ms", "5000", "5000"));
        assert!(!fits("retention.ms", "4999", "5000"));
        assert!(!fits("retention.ms", "5000", "-1"));
        assert!(!fits("min.insync.replicas", "not set", "1"));
        assert!(!fits("cleanup.policy", "compact,delete", "delete"));
    }
}
