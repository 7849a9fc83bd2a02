//! Limits, and what a client may rely on when it meets one.

use super::*;

#[test]
fn a_mailbox_that_cannot_be_deleted_stays_open() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: x\r\n\r\n");
    anna.say("a SELECT INBOX\r\n");
    assert!(anna.say("b DELETE INBOX\r\n").starts_with("b NO [CANNOT]"));
    assert_eq!(
        anna.say("c FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 1)\r\nc OK Fetched\r\n"
    );
    anna.say("d CREATE x\r\ne SELECT x\r\n");
    assert_eq!(anna.say("f DELETE x\r\n"), "f OK Done\r\n");
    assert!(anna.say("g FETCH 1 UID\r\n").starts_with("g BAD"));
}

#[test]
fn ai5_a_search_for_too_many_texts_is_refused() {
    let store = store();
    let mut anna = Client::anna(&store);
    anna.append("Subject: x\r\n\r\nx");
    anna.say("a SELECT INBOX\r\n");
    let search = |count: usize| format!("b SEARCH 1:* (NOT SEEN{})\r\n", " TEXT x".repeat(count));
    assert_eq!(anna.say(&search(64)), "* SEARCH 1\r\nb OK Searched\r\n");
    assert!(anna.say(&search(65)).starts_with("b NO [LIMIT]"));
}

#[test]
fn ai3_of_two_messages_at_the_quota_one_is_taken() {
    let store = store();
    let (mut one, mut other) = (Client::bob(&store), Client::bob(&store));
    let half = "x".repeat(300);
    for client in [&mut one, &mut other] {
        assert_eq!(
            client.say("a APPEND INBOX {600}\r\n"),
            "+ Ready for the message\r\n"
        );
        client.say(&half);
    }
    assert!(one.say(&format!("{half}\r\n")).starts_with("a OK [APPENDUID"));
    assert!(other.say(&format!("{half}\r\n")).starts_with("a NO [OVERQUOTA]"));
    assert_eq!(
        other.say("b STATUS INBOX (MESSAGES SIZE)\r\n"),
        "* STATUS INBOX (MESSAGES 1 SIZE 600)\r\nb OK Status given\r\n"
    );
    assert_eq!(
        other.say("c APPEND INBOX {400}\r\n"),
        "+ Ready for the message\r\n"
    );
}
