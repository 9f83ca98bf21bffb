//! The operations on checkpoints.

use super::super::account::Model;
use super::super::checkpoint::{Checkpoint, CheckpointView};
use super::super::failure::Failure;
use super::super::page::{Page, Paging};
use super::super::text::given;

impl Model {
    /// ListDisasterRecoveryCheckpoints: those with the source `instance_id`; none unless synchronisation is enabled for
    /// the plan.
    pub fn list_checkpoints(
        &mut self,
        region: &str,
        ids: (i64, i64),
        (instance_id, filter): (Option<&String>, Option<&String>),
        paging: &Paging,
        now: i64,
    ) -> Result<Page<CheckpointView>, Failure> {
        self.advance_plan(ids.0, now);
        let (plan, item) = self.visible_item(region, ids, now)?;
        let instance_id = given(instance_id).ok_or_else(|| Failure::missing("instanceId"))?;
        if !plan.instances.iter().any(|instance| instance.id() == instance_id) {
            return Err(Failure::instance_not_found());
        }
        let text = given(filter).unwrap_or_default();
        let wanted = |checkpoint: &&Checkpoint| {
            let topics = [&checkpoint.source.topic_name, &checkpoint.target.topic_name];
            plan.sync_checkpoint_enabled
                && checkpoint.source.instance_id == instance_id
                && (checkpoint.consumer_group_id.contains(text) || topics.iter().any(|topic| topic.contains(text)))
        };
        let view = |checkpoint: &Checkpoint| {
            (checkpoint.checkpoint_id, checkpoint.view(ids, &self.rules, &self.messages, now))
        };
        Ok(paging.page(item.checkpoints.iter().filter(wanted).map(view).collect(), false))
    }

    /// SyncDisasterRecoveryCheckpoint: synchronises once, also if the group is offline at the target.
    pub fn sync_checkpoint(
        &mut self,
        region: &str,
        ids: (i64, i64),
        checkpoint_id: i64,
        now: i64,
    ) -> Result<(), Failure> {
        self.advance_plan(ids.0, now);
        let enabled = self.find(region, ids.0)?.sync_checkpoint_enabled;
        let Model { plans, messages, .. } = self;
        let plan = plans.get_mut(&ids.0).ok_or_else(Failure::plan_not_found)?;
        let item = plan.items.get_mut(&ids.1).ok_or_else(Failure::item_not_found)?;
        let wanted = |checkpoint: &Checkpoint| enabled && checkpoint.checkpoint_id == checkpoint_id;
        item.sync(&wanted, messages, now);
        let checkpoint = item.checkpoints.iter_mut().find(|checkpoint| wanted(checkpoint));
        checkpoint.ok_or_else(Failure::checkpoint_not_found)?.release(now);
        Ok(())
    }
}
