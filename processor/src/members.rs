//! One pipeline per assigned partition, started and stopped as the assignment changes.

use std::collections::HashMap;
use std::sync::Arc;

use event_log::{GroupMember, TopicPartition};
use schemas::topic;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Processor;
use crate::error::ProcessorError;
use crate::metrics::TopicMetrics;
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::writer::Writer;

pub(crate) async fn run(
    processor: Processor,
    member: Arc<dyn GroupMember>,
    shutdown: CancellationToken,
) -> Result<(), ProcessorError> {
    let mut assignment = member.assignment();
    let mut tasks = JoinSet::new();
    let mut owned: HashMap<(TopicPartition, u64), CancellationToken> = HashMap::new();
    while !shutdown.is_cancelled() {
        let assigned = assignment.borrow_and_update().clone();
        owned.retain(|(place, epoch), stop| {
            let keeps = assigned.get(place) == Some(epoch);
            if !keeps {
                stop.cancel();
                processor.progress.send_modify(|progress| {
                    progress.remove(place);
                });
                if &*place.topic == topic::COST_EVENTS {
                    processor.known.release_partition(place.partition);
                }
            }
            keeps
        });
        for ownership in assigned {
            owned.entry(ownership).or_insert_with_key(|(place, epoch)| {
                let stop = shutdown.child_token();
                tasks.spawn(pipeline(&processor, &member, place.clone(), *epoch).run(stop.clone()));
                stop
            });
        }
        tokio::select! {
            changed = assignment.changed() => if changed.is_err() { shutdown.cancelled().await },
            Some(ended) = tasks.join_next() => ended??,
            () = shutdown.cancelled() => {}
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn pipeline(
    processor: &Processor,
    member: &Arc<dyn GroupMember>,
    place: TopicPartition,
    epoch: u64,
) -> Pipeline {
    Pipeline {
        plan: Plan::for_topic(&place.topic, &processor.warehouse, &processor.known),
        epoch,
        config: processor.config.clone(),
        log: Arc::clone(&processor.log),
        member: Arc::clone(member),
        metrics: TopicMetrics::of(&place.topic),
        topic_partition: place,
        writer: Writer::new(processor.warehouse.clone()),
        pauser: processor.pauser.clone(),
        progress: processor.progress.clone(),
        stats: Arc::clone(&processor.stats),
    }
}
