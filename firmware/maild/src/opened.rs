//! What the log says of a store that was just opened: only what is not as it is every time.

use store::Opened;

/// Sentences for the log. What is damaged is not among them: the store has said so itself.
pub(crate) fn sentences(opened: &Opened) -> Vec<String> {
    let Opened {
        is_new,
        index_rebuilt,
        snapshot: _,         // With it or without, the index is as it was.
        batches_replayed: _, // As many as were written since the last checkpoint: every start has some.
        is_tail_copied: _,   // Every start after a stop that was not clean copies it.
        tail_octets_dropped,
        bodies_swept,
        damage: _,
    } = opened;
    let mut sentences = Vec::new();
    if *is_new {
        sentences.push("there was no mail: an empty store was made".to_owned());
    }
    if let Some(why) = index_rebuilt
        && !is_new
    {
        sentences.push(format!("the index of the mail was made anew: {why}"));
    }
    if *tail_octets_dropped > 0 {
        sentences.push(format!(
            "the power went while mail was written: {tail_octets_dropped} octets that nobody was told of are dropped"
        ));
    }
    if *bodies_swept > 0 {
        let files = if *bodies_swept == 1 { "file" } else { "files" };
        sentences.push(format!(
            "{bodies_swept} {files} of messages that never became whole were removed"
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_like_every_other_says_nothing() {
        let usual = Opened {
            batches_replayed: 7,
            is_tail_copied: true,
            ..Opened::default()
        };
        assert_eq!(sentences(&usual), [""; 0]);
    }

    #[test]
    fn what_is_not_as_usual_is_a_sentence() {
        let new = Opened {
            is_new: true,
            index_rebuilt: Some("there is none".to_owned()),
            ..Opened::default()
        };
        assert_eq!(sentences(&new), ["there was no mail: an empty store was made"]);
        let after_a_power_cut = Opened {
            index_rebuilt: Some("it is of another version".to_owned()),
            tail_octets_dropped: 100,
            bodies_swept: 1,
            ..Opened::default()
        };
        assert_eq!(
            sentences(&after_a_power_cut),
            [
                "the index of the mail was made anew: it is of another version",
                "the power went while mail was written: 100 octets that nobody was told of are dropped",
                "1 file of messages that never became whole were removed",
            ]
        );
    }
}
