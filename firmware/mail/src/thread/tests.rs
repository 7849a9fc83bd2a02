use super::*;
use proptest::prelude::*;

fn message(id: u64, ancestors: &[u64], sent: i64, subject: &str) -> ThreadMessage {
    let base = crate::sort::base_subject(subject);
    ThreadMessage {
        id: (id > 0).then_some(IdHash(id)),
        ancestors: ancestors.iter().map(|id| IdHash(*id)).collect(),
        sent: Timestamp(sent),
        base_subject: base.text.into(),
        is_reply: base.is_reply,
    }
}

/// The threads, each place indented by dots: `1 .2 ..3`; an absent message is `-`.
fn shown(items: &[ThreadItem]) -> String {
    let items = items.iter().map(|item| {
        let name = item
            .message
            .map_or("-".to_owned(), |message| (message + 1).to_string());
        ".".repeat(item.depth as usize) + &name
    });
    items.collect::<Vec<_>>().join(" ")
}

fn check(messages: &[ThreadMessage], expected: &str) {
    assert_eq!(shown(&thread(messages, ThreadBy::References)), expected);
}

#[test]
fn answers_stand_below_what_they_answer() {
    let conversation = [
        message(1, &[], 10, "a"),
        message(3, &[1, 2], 30, "Re: a"),
        message(2, &[1], 20, "Re: a"),
        message(4, &[1], 25, "Re: a"),
        message(5, &[], 5, "b"),
    ];
    check(&conversation, "5 1 .3 ..2 .4");
}

#[test]
fn a_message_that_is_not_there_holds_its_answers_together() {
    check(&[message(1, &[9], 1, "a"), message(2, &[9], 2, "b")], "- .1 .2");
    check(&[message(1, &[8, 9], 1, "a")], "1");
    // The subject joins what references do not.
    check(&[message(1, &[], 1, "a"), message(2, &[], 2, "Re: a")], "1 .2");
    check(&[message(1, &[], 1, "Re: a"), message(2, &[], 2, "a")], "2 .1");
    check(
        &[
            message(1, &[], 1, "a"),
            message(2, &[], 2, "a"),
            message(3, &[], 3, "a"),
        ],
        "- .1 .2 .3",
    );
    check(&[message(1, &[], 1, ""), message(2, &[], 2, "")], "1 2");
}

/// AI5
#[test]
fn ai5_loops_and_ids_that_are_there_twice_do_no_harm() {
    check(&[message(1, &[1], 1, "a")], "1");
    check(&[message(1, &[2], 1, "a"), message(2, &[1], 2, "b")], "2 .1");
    check(
        &[
            message(1, &[], 1, "a"),
            message(1, &[1], 2, "b"),
            message(2, &[1], 3, "c"),
        ],
        "1 .2 .3",
    );
}

/// AI5: a chain of fifty thousand, each with all the references that are kept, and the worst order.
#[test]
fn ai5_fifty_thousand_messages_are_threaded_in_time() {
    let count = 50_000_u64;
    let chain: Vec<ThreadMessage> = (1..=count)
        .rev()
        .map(|id| {
            let from = id.saturating_sub(32).max(1);
            message(
                id,
                &(from..id).collect::<Vec<_>>(),
                i64::try_from(id).expect("small"),
                "a",
            )
        })
        .collect();
    let started = std::time::Instant::now();
    let items = thread(&chain, ThreadBy::References);
    assert_eq!(items.len(), chain.len());
    assert_eq!(items.last().map(|item| item.depth), Some(49_999));
    // It takes 0.3 s; without the forest's trees it takes minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn by_subject_the_first_message_of_each_leads() {
    let messages = [
        message(0, &[], 30, "Re: a"),
        message(0, &[], 20, "b"),
        message(0, &[], 10, "a"),
        message(0, &[], 40, "fwd: b"),
    ];
    assert_eq!(shown(&thread(&messages, ThreadBy::OrderedSubject)), "3 .1 2 .4");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn threads_are_those_of_the_plain_reading_of_the_standard(
        messages in proptest::collection::vec(
            (0_u64..9, proptest::collection::vec(1_u64..9, 0..5), 0_i64..4, prop::sample::select(vec!["a", "re: a", "b", "fwd: b", ""])),
            2..9,
        ),
    ) {
        let messages: Vec<ThreadMessage> = messages
            .iter()
            .map(|(id, ancestors, sent, subject)| message(*id, ancestors, *sent, subject))
            .collect();
        let items = thread(&messages, ThreadBy::References);
        prop_assert_eq!(shown(&items), shown(&plain::references(&messages)));
        let mut told: Vec<u32> = items.iter().filter_map(|item| item.message).collect();
        told.sort_unstable();
        prop_assert!(told.iter().map(|place| *place as usize).eq(0..messages.len()), "each message once");
    }
}

/// RFC 5256 §3 step by step, with recursion and without a thought of time.
mod plain {
    use super::super::*;
    use std::collections::BTreeMap;

    struct Node {
        message: Option<usize>,
        children: Vec<Node>,
    }

    pub(super) fn references(messages: &[ThreadMessage]) -> Vec<ThreadItem> {
        let parents = link(messages);
        let roots = (0..parents.len()).filter(|place| parents[*place].is_none());
        let roots = roots.map(|root| node(root, &parents, messages.len())).collect();
        let mut roots = prune_roots(roots);
        sort(&mut roots, messages);
        let mut roots = join(roots, messages);
        sort(&mut roots, messages);
        let mut items = Vec::new();
        for root in &roots {
            tell(root, 0, &mut items);
        }
        items
    }

    fn link(messages: &[ThreadMessage]) -> Vec<Option<usize>> {
        let mut places = BTreeMap::new();
        for (place, message) in messages.iter().enumerate() {
            if let Some(id) = message.id {
                places.entry(id).or_insert(place);
            }
        }
        let mut parents: Vec<Option<usize>> = vec![None; messages.len()];
        let is_loop = |parents: &[Option<usize>], child: usize, parent: usize| {
            let mut at = Some(parent);
            while let Some(place) = at {
                if place == child {
                    return true;
                }
                at = parents[place];
            }
            false
        };
        for (place, message) in messages.iter().enumerate() {
            let chain: Vec<usize> = message
                .ancestors
                .iter()
                .map(|id| {
                    *places.entry(*id).or_insert_with(|| {
                        parents.push(None);
                        parents.len() - 1
                    })
                })
                .collect();
            for pair in chain.windows(2) {
                if parents[pair[1]].is_none() && !is_loop(&parents, pair[1], pair[0]) {
                    parents[pair[1]] = Some(pair[0]);
                }
            }
            parents[place] = None;
            parents[place] = chain
                .last()
                .copied()
                .filter(|parent| !is_loop(&parents, place, *parent));
        }
        parents
    }

    fn node(place: usize, parents: &[Option<usize>], messages: usize) -> Node {
        let children = (0..parents.len()).filter(|child| parents[*child] == Some(place));
        Node {
            message: (place < messages).then_some(place),
            children: children.map(|child| node(child, parents, messages)).collect(),
        }
    }

    fn prune(node: Node) -> Vec<Node> {
        let children: Vec<Node> = node.children.into_iter().flat_map(prune).collect();
        match node.message {
            None => children,
            message => vec![Node { message, children }],
        }
    }

    fn prune_roots(roots: Vec<Node>) -> Vec<Node> {
        roots
            .into_iter()
            .flat_map(|root| {
                let children: Vec<Node> = root.children.into_iter().flat_map(prune).collect();
                match root.message {
                    None if children.len() < 2 => children,
                    message => vec![Node { message, children }],
                }
            })
            .collect()
    }

    fn oldest(node: &Node, messages: &[ThreadMessage]) -> (Timestamp, usize) {
        match node.message {
            Some(message) => (messages[message].sent, message),
            None => node
                .children
                .iter()
                .map(|child| oldest(child, messages))
                .min()
                .expect("a dummy has children"),
        }
    }

    fn sort(nodes: &mut [Node], messages: &[ThreadMessage]) {
        for node in nodes.iter_mut() {
            sort(&mut node.children, messages);
        }
        nodes.sort_by_key(|node| oldest(node, messages));
    }

    fn join(roots: Vec<Node>, messages: &[ThreadMessage]) -> Vec<Node> {
        let speaker = |root: &Node| {
            &messages[root
                .message
                .unwrap_or_else(|| root.children[0].message.expect("pruned"))]
        };
        let mut table: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for (place, root) in roots.iter().enumerate() {
            let subject = speaker(root).base_subject.clone();
            if subject.is_empty() {
                continue;
            }
            let is_better = |known: usize| {
                roots[known].message.is_some()
                    && (root.message.is_none()
                        || (speaker(&roots[known]).is_reply && !speaker(root).is_reply))
            };
            if table.get(&subject).is_none_or(|known| is_better(*known)) {
                table.insert(subject, place);
            }
        }
        let count = roots.len();
        let mut roots: Vec<Option<Node>> = roots.into_iter().map(Some).collect();
        for place in 0..count {
            let Some(root) = &roots[place] else { continue };
            let (subject, is_reply) = (speaker(root).base_subject.clone(), speaker(root).is_reply);
            let Some(known) = table.get(&subject).copied().filter(|known| *known != place) else {
                continue;
            };
            let root = roots[place].take().expect("it is there");
            let known_root = roots[known].as_mut().expect("what is in the table is there");
            match (known_root.message, root.message) {
                (None, None) => known_root.children.extend(root.children),
                (None, Some(_)) => known_root.children.push(root),
                (Some(known), _) if is_reply && !messages[known].is_reply => known_root.children.push(root),
                _ => {
                    let known_root = roots[known].take().expect("it is there");
                    table.insert(subject, roots.len());
                    roots.push(Some(Node {
                        message: None,
                        children: vec![known_root, root],
                    }));
                }
            }
        }
        roots.into_iter().flatten().collect()
    }

    fn tell(node: &Node, depth: u32, items: &mut Vec<ThreadItem>) {
        items.push(ThreadItem {
            depth,
            message: node.message.and_then(place),
        });
        node.children
            .iter()
            .for_each(|child| tell(child, depth + 1, items));
    }
}
