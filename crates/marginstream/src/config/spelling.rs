//! Names that were probably meant.

/// A name this close to one that exists is a slip of the pen.
const MAX_TYPO_EDITS: usize = 2;

/// Returns the one of `known` that is nearest to `name`, if it is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let distances = known.map(|candidate| (edit_distance(name, candidate), candidate));
    let (distance, candidate) = distances.min()?;
    (distance <= MAX_TYPO_EDITS).then(|| candidate.to_owned())
}

/// Counts the insertions, deletions and replacements of bytes between two names (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, left) in from.bytes().enumerate() {
        let mut diagonal = index;
        let mut last = index + 1;
        for (column, right) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column] = last;
            last = replaced.min(diagonal + 1).min(last + 1);
        }
        row[to.len()] = last;
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (from, to, edits) in [
            ("", "abc", 3),
            ("listen", "listen", 0),
            ("lisen", "listen", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(from, to), edits, "{from} {to}");
        }
    }
}
