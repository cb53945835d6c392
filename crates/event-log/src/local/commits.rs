//! What all groups have committed: one small file per group and partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::commit_file::CommitFile;
use super::files;
use crate::record::validate_name;
use crate::{LogError, TopicPartition};

/// The commits of all groups, by partition and group.
#[derive(Debug)]
pub(super) struct CommitStore {
    root: PathBuf,
    files: Mutex<BTreeMap<(TopicPartition, String), Arc<CommitFile>>>,
}

impl CommitStore {
    /// Loads what the groups under `root` have committed.
    ///
    /// # Errors
    /// [`LogError::Damaged`] for a file of which no slot is intact.
    pub(super) fn load(root: &Path) -> Result<Self, LogError> {
        let mut files = BTreeMap::new();
        for (group, topic_partition, path) in list(root)? {
            files.insert((topic_partition, group), Arc::new(CommitFile::load(root, path)?));
        }
        Ok(Self {
            root: root.to_path_buf(),
            files: Mutex::new(files),
        })
    }

    /// Returns the file of `group` for `topic_partition`, if the group ever joined it.
    pub(super) fn find(&self, group: &str, topic_partition: &TopicPartition) -> Option<Arc<CommitFile>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files
            .get(&(topic_partition.clone(), group.to_owned()))
            .map(Arc::clone)
    }

    /// Returns the file of `group` for `topic_partition`, which is made if absent. Blocks.
    pub(super) fn join(
        &self,
        group: &str,
        topic_partition: &TopicPartition,
    ) -> Result<Arc<CommitFile>, LogError> {
        validate_name("group", group)?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic_partition.clone(), group.to_owned());
        if let Some(file) = files.get(&key) {
            return Ok(Arc::clone(file));
        }
        let dir = self.root.join("groups").join(group);
        files::create_dir(&dir)?;
        files::sync_dir(&self.root.join("groups"))?;
        let TopicPartition { topic, partition } = topic_partition;
        let file = Arc::new(CommitFile::create(
            dir.join(format!("{topic}-{partition}.commit")),
        )?);
        files.insert(key, Arc::clone(&file));
        Ok(file)
    }

    /// Returns all groups' commit files for `topic_partition`.
    pub(super) fn of_partition(&self, topic_partition: &TopicPartition) -> Vec<Arc<CommitFile>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let of_partition = files.iter().filter(|((key, _), _)| key == topic_partition);
        of_partition.map(|(_, file)| Arc::clone(file)).collect()
    }

    /// Returns the offset below which every group of this partition has processed all, 0 if one has never
    /// committed; nothing if there is no group.
    pub(super) fn processed(&self, topic_partition: &TopicPartition) -> Option<u64> {
        let files = self.of_partition(topic_partition);
        files
            .iter()
            .map(|file| file.current().map_or(0, |committed| committed.offset))
            .min()
    }
}

/// Returns group, partition and path of all commit files under `root`.
fn list(root: &Path) -> Result<Vec<(String, TopicPartition, PathBuf)>, LogError> {
    let mut found = Vec::new();
    let groups = root.join("groups");
    for group in files::list_dir(&groups)? {
        for name in files::list_dir(&groups.join(&group))? {
            let Some((topic, partition)) = name
                .strip_suffix(".commit")
                .and_then(|name| name.rsplit_once('-'))
            else {
                continue;
            };
            let Ok(partition) = partition.parse() else {
                continue;
            };
            let path = groups.join(&group).join(&name);
            found.push((group.clone(), TopicPartition::new(topic, partition), path));
        }
    }
    Ok(found)
}

/// Sets aside the commit files of which no slot is intact, so that their groups start over, and returns
/// the files and where they are now.
pub(super) fn set_aside_damaged(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>, LogError> {
    let mut moved = Vec::new();
    for (_, _, path) in list(root)? {
        match CommitFile::load(root, path.clone()) {
            Ok(_) => {}
            Err(LogError::Damaged { .. }) => {
                let aside = path.with_extension("commit.damaged-0");
                files::copy_synced(&path, 0, &aside)?;
                // Emptied, not removed: retention must not take what the group has to read again.
                CommitFile::create(path.clone())?;
                moved.push((path, aside));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}
