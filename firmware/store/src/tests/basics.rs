use super::*;

const U1: AccountId = AccountId(1);
const U2: AccountId = AccountId(2);

#[test]
fn a_message_for_two_is_one_body_and_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert!(opened.is_new);
    provision(&store, 2);
    let delivered = deliver(&store, &[U1, U2], b"Subject: x\r\n\r\nHello\r\n");
    let dump = store.view().unwrap().dump().unwrap();
    finish(&store);
    store.close();
    drop(store);

    let (store, opened) = Store::open(folder.path(), options()).unwrap();
    assert_eq!(opened, crate::Opened::default());
    let view = store.view().unwrap();
    assert_eq!(view.dump().unwrap(), dump);
    for delivered in delivered {
        assert_eq!(
            read(&view, delivered.mailbox, delivered.uid),
            format!(
                "Delivered-To: {}\r\nSubject: x\r\n\r\nHello\r\n",
                delivered.account
            )
            .into_bytes()
        );
    }
    finish(&store);
}
