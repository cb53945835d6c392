//! One pipeline per assigned partition, started and stopped as the assignment changes.

use std::collections::HashMap;
use std::sync::Arc;

use event_log::{GroupMember, TopicPartition};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Processor;
use crate::error::ProcessorError;
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
    let mut owned: HashMap<TopicPartition, CancellationToken> = HashMap::new();
    while !shutdown.is_cancelled() {
        let assigned = assignment.borrow_and_update().clone();
        owned.retain(|place, stop| {
            let keeps = assigned.contains(place);
            if !keeps {
                stop.cancel();
            }
            keeps
        });
        for place in assigned {
            owned.entry(place).or_insert_with_key(|place| {
                let stop = shutdown.child_token();
                tasks.spawn(pipeline(&processor, &member, place.clone()).run(stop.clone()));
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

fn pipeline(processor: &Processor, member: &Arc<dyn GroupMember>, place: TopicPartition) -> Pipeline {
    Pipeline {
        plan: Plan::for_topic(&place.topic, &processor.warehouse, &processor.known),
        topic_partition: place,
        config: processor.config.clone(),
        log: Arc::clone(&processor.log),
        member: Arc::clone(member),
        writer: Writer::new(processor.warehouse.clone()),
        pauser: processor.pauser.clone(),
        progress: processor.progress.clone(),
        stats: Arc::clone(&processor.stats),
    }
}
